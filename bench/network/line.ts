/**
 * One direction of the line that ties a host to the network: so many bits a
 * second, and a queue before them that is full at some point. It holds no
 * packet; it says when one would be through.
 */

/** What waits at most: 50 ms of the line, as routers at home have it or worse. */
const QUEUE_MS_MAX = 50;

/** A line; packets pass it one after the other. */
export class Line {
  readonly #bitsPerMs: number;
  #freeAtMs = 0;

  /** @param bitsPerSecond may be infinite. */
  constructor(bitsPerSecond: number) {
    this.#bitsPerMs = bitsPerSecond / 1000;
  }

  /**
   * Takes a packet.
   *
   * @param nowMs never less than in the call before.
   * @returns when its last bit is through; `undefined` if the queue is full and the packet lost.
   */
  pass(nowMs: number, bytes: number): number | undefined {
    const beginsMs = Math.max(nowMs, this.#freeAtMs);
    if (beginsMs - nowMs > QUEUE_MS_MAX) return undefined;
    this.#freeAtMs = beginsMs + 8 * bytes / this.#bitsPerMs;
    return this.#freeAtMs;
  }
}
