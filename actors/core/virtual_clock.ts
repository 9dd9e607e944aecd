/**
 * Time that passes only when told to, in jumps from one timer to the next.
 * Timers due at the same moment fire in the order in which they were set.
 *
 * It doesn't run anything by itself: {@link Simulation}, or a test, moves it.
 */

import type { Clock, Timer } from "./clock.ts";

interface Entry {
  readonly atMs: number;
  /** Breaks ties: the timer that was set first fires first. */
  readonly order: number;
  readonly fire: () => void;
  /** Place in the heap, or −1 once fired or called off. */
  index: number;
}

/**
 * A clock on a binary heap of timers. Setting, firing and calling off each take
 * O(log n); a timer called off leaves nothing behind.
 */
export class VirtualClock implements Clock {
  readonly #epochStartMs: number;
  readonly #heap: Entry[] = [];
  #nowMs = 0;
  #order = 0;

  /**
   * A clock that stands at 0.
   *
   * @param epochStartMs what `epochMs()` says at virtual time 0.
   */
  constructor(epochStartMs = 0) {
    this.#epochStartMs = epochStartMs;
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#heap.length;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  epochMs(): number {
    return this.#epochStartMs + this.#nowMs;
  }

  /**
   * Calls `fire` once, when time is moved to `delayMs` from now.
   *
   * @throws {RangeError} if `delayMs` is not finite.
   */
  after(delayMs: number, fire: () => void): Timer {
    if (!Number.isFinite(delayMs)) {
      throw new RangeError(`Cannot set a timer: delay must be finite, got ${delayMs} ms`);
    }
    const atMs = this.#nowMs + Math.max(0, delayMs);
    const entry: Entry = { atMs, order: this.#order++, fire, index: this.#heap.length };
    this.#heap.push(entry);
    this.#rise(entry);
    return { cancel: () => this.#remove(entry) };
  }

  /** When the next timer is due; `undefined` if none waits. */
  nextAtMs(): number | undefined {
    return this.#heap[0]?.atMs;
  }

  /** Jumps to the next timer and fires it. `false` if none waits. */
  fireNext(): boolean {
    const entry = this.#heap[0];
    if (entry === undefined) return false;
    this.#remove(entry);
    this.#nowMs = entry.atMs;
    entry.fire();
    return true;
  }

  /**
   * Moves to `atMs`, firing on the way whatever is due by then, in order;
   * timers set meanwhile included. A moment that has passed changes nothing.
   */
  advanceTo(atMs: number): void {
    while ((this.nextAtMs() ?? Infinity) <= atMs) this.fireNext();
    this.#nowMs = Math.max(this.#nowMs, atMs);
  }

  #remove(entry: Entry): void {
    const { index } = entry;
    if (index < 0) return;
    entry.index = -1;
    const last = this.#heap.pop()!;
    if (last === entry) return;
    this.#put(last, index);
    this.#rise(last);
    this.#sink(last);
  }

  #rise(entry: Entry): void {
    while (entry.index > 0) {
      const parent = this.#heap[(entry.index - 1) >> 1]!;
      if (before(parent, entry)) return;
      this.#swap(parent, entry);
    }
  }

  #sink(entry: Entry): void {
    while (true) {
      const left = this.#heap[2 * entry.index + 1];
      if (left === undefined) return;
      const right = this.#heap[2 * entry.index + 2];
      const least = right !== undefined && before(right, left) ? right : left;
      if (before(entry, least)) return;
      this.#swap(entry, least);
    }
  }

  #swap(one: Entry, other: Entry): void {
    const { index } = one;
    this.#put(one, other.index);
    this.#put(other, index);
  }

  #put(entry: Entry, index: number): void {
    this.#heap[index] = entry;
    entry.index = index;
  }
}

function before(one: Entry, other: Entry): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}
