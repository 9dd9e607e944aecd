/**
 * The space that runs work in. One serves all programs of a device, since one
 * run begins when the run before it has ended. It grows, until memory is short.
 */

import { roundedUp } from "../few_sizes.ts";
import { BUFFER_BYTES_STEP, type BufferPool, type PooledBuffer, type PooledImage } from "./buffers.ts";
import { IMAGE_WIDTH } from "./writer.ts";

/** Buffers for the slots, and images, of whatever plan runs next. */
export class Arena {
  readonly #pool: BufferPool;
  readonly #buffers: PooledBuffer[] = [];
  readonly #images: PooledImage[] = [];
  #inUse = false;

  constructor(pool: BufferPool) {
    this.#pool = pool;
    pool.onShortage = () => this.#giveBack();
  }

  /** One for each slot, at least as large. */
  get buffers(): readonly PooledBuffer[] {
    return this.#buffers;
  }

  /** One for each image, at least as large. */
  get images(): readonly PooledImage[] {
    return this.#images;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return [...this.#buffers, ...this.#images].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Makes room for a plan, and keeps it until {@link rest}.
   *
   * Sizes come the largest first: so the n-th largest of one plan shares with the n-th of another.
   *
   * @param slots bytes of each.
   * @param images texels of each.
   * @throws {RangeError} if there is no memory for it.
   */
  grow(slots: readonly number[], images: readonly number[]): void {
    this.#inUse = true;
    this.#growEach(
      this.#buffers,
      slots,
      (bytes) => this.#pool.take(roomy(bytes, this.#pool.bufferBytesMax), "storage"),
    );
    this.#growEach(
      this.#images,
      images.map((texels) => 16 * texels),
      (bytes) => this.#pool.takeImage(roomy(bytes, 16 * IMAGE_WIDTH ** 2) / 16),
    );
  }

  #growEach<Room extends PooledBuffer | PooledImage>(
    rooms: Room[],
    sizes: readonly number[],
    take: (bytes: number) => Room,
  ): void {
    sizes.forEach((bytes, index) => {
      const known = rooms[index];
      if (known && known.bytes >= bytes) return;
      // What a refusal leaves is an arena of less room.
      for (const room of rooms.splice(index, known ? 1 : 0)) this.#pool.destroy(room);
      rooms.splice(index, 0, take(bytes));
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
    for (const room of [...this.#buffers.splice(0), ...this.#images.splice(0)]) this.#pool.give(room);
  }
}

/** With some room, so that sizes that grow by little don't make a buffer each. */
function roomy(bytes: number, most: number): number {
  return Math.max(bytes, Math.min(roundedUp(bytes, 8, BUFFER_BYTES_STEP), most));
}
