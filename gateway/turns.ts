/**
 * So many answers at once, and a queue of bounded length for the rest, first
 * come, first served. It knows nothing of what an answer is.
 */

import { QUEUE_RETRY_SECONDS } from "./limits.ts";
import { Problem } from "./problem.ts";

/** How many. */
export interface TurnLimits {
  readonly atOnce: number;
  readonly waitingMax: number;
}

type Begin = (turn: Disposable) => void;

/** Hands turns out. */
export class Turns {
  readonly #limits: TurnLimits;
  /** In the order in which they came. */
  readonly #queue = new Set<Begin>();
  #underWay = 0;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  /** Turns that have begun and are not over. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Those that wait. */
  get waiting(): number {
    return this.#queue.size;
  }

  /**
   * Refuses early what could only wait too long.
   *
   * @throws {Problem} 429 if `count` more would not find room.
   */
  expect(count: number): void {
    const free = this.#limits.atOnce - this.#underWay + this.#limits.waitingMax - this.waiting;
    if (count > free) throw this.#full();
  }

  /**
   * Waits for a turn; dispose of it when it is over.
   *
   * @throws {Problem} 429 if the queue is full.
   * @throws the signal's reason, if it is aborted before the turn begins.
   */
  take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#underWay < this.#limits.atOnce) return Promise.resolve(this.#begin());
    if (this.waiting >= this.#limits.waitingMax) throw this.#full();
    const { promise, resolve, reject } = Promise.withResolvers<Disposable>();
    this.#queue.add(resolve);
    // Whose turn has begun in the meantime has it, and gives it back.
    const leave = () => this.#queue.delete(resolve) && reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", leave));
  }

  #begin(): Disposable {
    this.#underWay++;
    let over = false;
    return {
      [Symbol.dispose]: () => {
        if (over) return;
        over = true;
        this.#underWay--;
        this.#next();
      },
    };
  }

  #next(): void {
    for (const begin of this.#queue) {
      this.#queue.delete(begin);
      return begin(this.#begin());
    }
  }

  #full(): Problem {
    const { atOnce, waitingMax } = this.#limits;
    return new Problem(
      429,
      `Cannot answer now: ${this.#underWay} of ${atOnce} answers are under way, ` +
        `and ${this.waiting} of ${waitingMax} wait`,
      { code: "overloaded", retryAfterSeconds: QUEUE_RETRY_SECONDS },
    );
  }
}
