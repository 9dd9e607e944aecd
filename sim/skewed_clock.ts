/** The clock of a machine whose quartz is not the world's: it began wrong, and runs too fast or too slow. */

import type { Clock, Timer } from "../actors/core/clock.ts";

/** How a clock is wrong. */
export interface Skew {
  /** What its calendar is ahead by at the start, in milliseconds; negative: behind. */
  readonly offsetMs: number;
  /** How many milliseconds it gains in a million; negative: loses. */
  readonly driftPpm: number;
}

/** A view of a clock with its own idea of time. */
export class SkewedClock implements Clock {
  readonly #clock: Clock;
  readonly #offsetMs: number;
  /** Own milliseconds in one of the world's. */
  readonly #rate: number;

  constructor(clock: Clock, { offsetMs, driftPpm }: Skew) {
    this.#clock = clock;
    this.#offsetMs = offsetMs;
    this.#rate = 1 + driftPpm / 1e6;
  }

  nowMs(): number {
    return this.#clock.nowMs() * this.#rate;
  }

  epochMs(): number {
    const gainedMs = this.#clock.nowMs() * (this.#rate - 1);
    return this.#clock.epochMs() + this.#offsetMs + gainedMs;
  }

  after(delayMs: number, fire: () => void): Timer {
    return this.#clock.after(delayMs / this.#rate, fire);
  }
}
