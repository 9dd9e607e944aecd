/**
 * A rate with room for bursts: fills steadily, up to what a minute gives, and is
 * drawn from. It may be drawn below nothing by what is known only afterwards, as
 * the tokens of an answer are; then it has to fill up again first.
 */

import type { Clock } from "../actors/core/clock.ts";

const MINUTE_MS = 60_000;

/** One bucket. */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #perMinute: number;
  #level: number;
  #filledMs: number;

  /** A full bucket. */
  constructor(clock: Clock, perMinute: number) {
    this.#clock = clock;
    this.#perMinute = perMinute;
    this.#level = perMinute;
    this.#filledMs = clock.nowMs();
  }

  /** How long until it holds `amount`, in seconds; 0 if it does. What is more than a minute gives is never held. */
  secondsUntil(amount: number): number {
    this.#fill();
    return Math.max(0, (Math.min(amount, this.#perMinute) - this.#level) * 60 / this.#perMinute);
  }

  /** Draws, whatever it holds. */
  take(amount: number): void {
    this.#fill();
    this.#level -= amount;
  }

  #fill(): void {
    const nowMs = this.#clock.nowMs();
    const gained = (nowMs - this.#filledMs) * this.#perMinute / MINUTE_MS;
    this.#level = Math.min(this.#perMinute, this.#level + gained);
    this.#filledMs = nowMs;
  }
}
