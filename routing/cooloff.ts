/**
 * How long a peer that failed is left alone: twice as long each time, up to a
 * bound. A success forgets the failures. Asking to come back later is not a failure.
 */

/** Pause after the first failure. */
export const COOLOFF_MS_MIN = 500;
/** Longest pause. */
export const COOLOFF_MS_MAX = 60_000;

/** The cool-off of one peer. */
export class Cooloff {
  #failures = 0;
  #untilMs = -Infinity;

  /** When the peer may be chosen again; in the past if it may be now. */
  get untilMs(): number {
    return this.#untilMs;
  }

  /** Whether it is left alone because it failed, rather than because it asked for it. */
  get failed(): boolean {
    return this.#failures > 0;
  }

  failure(nowMs: number): void {
    const pauseMs = Math.min(COOLOFF_MS_MAX, COOLOFF_MS_MIN * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    this.#untilMs = Math.max(this.#untilMs, nowMs + pauseMs);
  }

  /** The peer is busy until then. */
  refused(retryAtMs: number): void {
    this.#untilMs = Math.max(this.#untilMs, retryAtMs);
  }

  success(): void {
    this.#failures = 0;
  }

  /** May be chosen at once; the failures are still remembered. */
  lift(): void {
    this.#untilMs = -Infinity;
  }
}
