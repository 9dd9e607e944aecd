/**
 * A clock whose timers belong to one owner and end with it. Keeps no time of
 * its own.
 */

import type { Clock, Timer } from "./clock.ts";

/** Lends out a clock; {@link ScopedClock.close} calls off every timer that was set through it. */
export class ScopedClock implements Clock {
  readonly #clock: Clock;
  readonly #timersMax: number;
  readonly #timers = new Set<Timer>();
  #closed = false;

  /** @param timersMax the most timers that may wait at once. */
  constructor(clock: Clock, timersMax: number) {
    this.#clock = clock;
    this.#timersMax = timersMax;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  epochMs(): number {
    return this.#clock.epochMs();
  }

  /**
   * On a closed clock nothing fires.
   * @throws {RangeError} if `timersMax` timers wait already, or `delayMs` is not finite.
   */
  after(delayMs: number, fire: () => void): Timer {
    if (this.#closed) return { cancel: () => {} };
    if (this.#timers.size >= this.#timersMax) {
      throw new RangeError(
        `Cannot set a timer: ${this.#timers.size} of ${this.#timersMax} wait already`,
      );
    }
    const inner = this.#clock.after(delayMs, () => {
      this.#timers.delete(timer);
      fire();
    });
    const timer: Timer = {
      cancel: () => {
        this.#timers.delete(timer);
        inner.cancel();
      },
    };
    this.#timers.add(timer);
    return timer;
  }

  /** Calls off every timer, and lets no other be set. */
  close(): void {
    this.#closed = true;
    for (const timer of [...this.#timers]) timer.cancel();
  }
}
