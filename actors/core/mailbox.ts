/**
 * Where messages wait for one actor: first in, first out, never more than its
 * bound. It refuses rather than grows; that answer is the back-pressure.
 */

import { Queue } from "./queue.ts";

/** A bounded queue. */
export class Mailbox<Item> {
  /** The most that may wait. */
  readonly bound: number;
  readonly #queue = new Queue<Item>();

  /**
   * An empty mailbox.
   *
   * @throws {RangeError} if `bound` is not a positive integer.
   */
  constructor(bound: number) {
    if (!Number.isSafeInteger(bound) || bound < 1) {
      throw new RangeError(`Cannot make a mailbox: bound must be a positive integer, got ${bound}`);
    }
    this.bound = bound;
  }

  /** Items that wait. */
  get size(): number {
    return this.#queue.size;
  }

  /** Appends, or answers `false` if the mailbox is full. */
  push(item: Item): boolean {
    if (this.#queue.size >= this.bound) return false;
    this.#queue.push(item);
    return true;
  }

  /** Takes the oldest; `undefined` if there is none. */
  shift(): Item | undefined {
    return this.#queue.shift();
  }

  /** Drops everything. */
  clear(): void {
    this.#queue.clear();
  }
}
