/**
 * First in, first out, in constant time. A ring that grows by doubling.
 *
 * It has no bound of its own: whoever holds one must know what bounds it
 * ({@link Mailbox} counts; the run queue holds each actor at most once).
 */

const CAPACITY_FIRST = 8;

/** A growing ring. */
export class Queue<Item> {
  // Always a power of two long, so that an index wraps with a mask.
  #slots: (Item | undefined)[] = [];
  #head = 0;
  #size = 0;

  /** Items that wait. */
  get size(): number {
    return this.#size;
  }

  /** Appends. */
  push(item: Item): void {
    if (this.#size === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#size) & (this.#slots.length - 1)] = item;
    this.#size++;
  }

  /** Takes the oldest; `undefined` if there is none. */
  shift(): Item | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#size--;
    return item;
  }

  /** The oldest, left where it is; `undefined` if there is none. */
  peek(): Item | undefined {
    return this.#size === 0 ? undefined : this.#slots[this.#head];
  }

  /** Drops everything. */
  clear(): void {
    this.#slots = [];
    this.#head = 0;
    this.#size = 0;
  }

  #grow(): void {
    const grown = new Array<Item | undefined>(Math.max(CAPACITY_FIRST, this.#slots.length * 2));
    for (let index = 0; index < this.#size; index++) {
      grown[index] = this.#slots[(this.#head + index) & (this.#slots.length - 1)];
    }
    this.#slots = grown;
    this.#head = 0;
  }
}
