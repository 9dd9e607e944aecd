/**
 * The space that runs work in. One serves all programs of a device, since one
 * run begins when the run before it has ended. It grows, until memory is short.
 */

import { BUFFER_BYTES_STEP, type BufferPool, type PooledBuffer } from "./buffers.ts";

/** Buffers for the slots of whatever plan runs next. */
export class Arena {
  readonly #pool: BufferPool;
  readonly #buffers: PooledBuffer[] = [];
  #inUse = false;

  constructor(pool: BufferPool) {
    this.#pool = pool;
    pool.onShortage = () => this.#giveBack();
  }

  /** One for each slot, at least as large. */
  get buffers(): readonly PooledBuffer[] {
    return this.#buffers;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#buffers.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Makes room for a plan, and keeps it until {@link rest}.
   *
   * @param slots bytes of each, the largest first: so the n-th largest of one plan shares with the n-th of another.
   * @throws {RangeError} if there is no memory for it.
   */
  grow(slots: readonly number[]): void {
    this.#inUse = true;
    slots.forEach((bytes, index) => {
      const known = this.#buffers[index];
      if (known && known.bytes >= bytes) return;
      // What a refusal leaves is an arena of fewer slots.
      for (const buffer of this.#buffers.splice(index, known ? 1 : 0)) this.#pool.destroy(buffer);
      this.#buffers.splice(index, 0, this.#pool.take(roomy(bytes, this.#pool.bufferBytesMax), "storage"));
    });
  }

  /** The run that there was room for is on its way. */
  rest(): void {
    this.#inUse = false;
  }

  /** The run that there was room for can't be: its space may not even exist. */
  giveUp(): void {
    this.rest();
    this.#giveBack();
  }

  /** Space that no run works in can make room for tensors. */
  #giveBack(): void {
    if (this.#inUse) return;
    for (const buffer of this.#buffers.splice(0)) this.#pool.give(buffer);
  }
}

/** An eighth of its power of two rounds a size up, so that sizes that grow by little don't make a buffer each. */
function roomy(bytes: number, most: number): number {
  const step = Math.max(BUFFER_BYTES_STEP, 2 ** (Math.floor(Math.log2(bytes)) - 3));
  return Math.max(bytes, Math.min(Math.ceil(bytes / step) * step, most));
}
