/**
 * The live tensors of a device: who is alive, what each lies in, and how many
 * bytes they hold. It moves no bytes.
 */

import type { DataType, DeviceTensor } from "../device.ts";
import { formatShape } from "../shapes.ts";
import type { BufferPool, PooledBuffer } from "./buffers.ts";
import { bytesOf } from "./plan.ts";
import type { Storage } from "./writer.ts";

/** What a tensor holds. */
export interface Contents {
  buffer: PooledBuffer;
  storage: Storage;
  /** The same integers in the host's memory, where ranges are checked. */
  integers: Int32Array | undefined;
}

/** A tensor as its device knows it. */
export interface Held extends DeviceTensor, Contents {
  /** A copy in 16 bits, where programs read one. */
  shadow: { readonly buffer: PooledBuffer; stale: boolean } | undefined;
  live: boolean;
}

/** Where a device keeps its tensors. */
export class Tensors {
  readonly #device: string;
  readonly #pool: BufferPool;
  readonly #live = new Map<DeviceTensor, Held>();
  #bytesInUse = 0;

  /** @param device its name, for messages. */
  constructor(device: string, pool: BufferPool) {
    this.#device = device;
    this.#pool = pool;
  }

  /** Bytes of live tensors' elements. */
  get bytesInUse(): number {
    return this.#bytesInUse;
  }

  /** A live tensor with these contents. */
  adopt(dataType: DataType, shape: readonly number[], contents: Contents): DeviceTensor {
    const tensor: DeviceTensor = Object.freeze({ dataType, shape: Object.freeze([...shape]) });
    this.#live.set(tensor, { ...tensor, ...contents, shadow: undefined, live: true });
    this.#bytesInUse += bytesOf(contents.storage, shape);
    return tensor;
  }

  /**
   * The tensor as its device knows it.
   *
   * @param action begins the message, as in `Cannot download tensor`.
   * @throws {TypeError} if it was freed, or is another device's.
   */
  find(action: string, tensor: DeviceTensor): Held {
    const held = this.#live.get(tensor);
    if (held) return held;
    throw new TypeError(
      `${action} ${formatShape(tensor.shape)}: ${this.#device} does not hold it, or it was freed`,
    );
  }

  /**
   * Ends a tensor's life. Its memory is its own until {@link release}.
   *
   * @throws {TypeError} if it was freed, or is another device's.
   */
  end(tensor: DeviceTensor): Held {
    const held = this.find("Cannot free tensor", tensor);
    this.#live.delete(tensor);
    held.live = false;
    this.#bytesInUse -= bytesOf(held.storage, held.shape);
    return held;
  }

  /** Gives the memory back that a tensor lies in. */
  release(held: Held): void {
    this.#pool.give(held.buffer);
    this.dropShadow(held);
  }

  /** Gives a tensor other contents. Who had the old ones before knows what becomes of them. */
  place(held: Held, contents: Contents): void {
    if (held.live) {
      this.#bytesInUse += bytesOf(contents.storage, held.shape) - bytesOf(held.storage, held.shape);
    }
    Object.assign(held, contents);
    if (held.shadow) held.shadow.stale = true;
  }

  /**
   * Makes room for a tensor's copy in 16 bits.
   *
   * @returns whether there was none.
   * @throws {RangeError} if there is no memory for it.
   */
  addShadow(held: Held): boolean {
    if (held.shadow) return false;
    held.shadow = { buffer: this.#pool.take(bytesOf("f16", held.shape), "storage"), stale: true };
    return true;
  }

  /** Gives the memory of that copy back. */
  dropShadow(held: Held): void {
    if (held.shadow) this.#pool.give(held.shadow.buffer);
    held.shadow = undefined;
  }

  /** Ends every tensor's life. */
  clear(): void {
    this.#live.clear();
    this.#bytesInUse = 0;
  }
}
