/**
 * How long a peer is left alone. After a failure: twice as long each time, up to a
 * bound, until a success forgets the failures. When it asked to be: until then.
 * The two are kept apart, because only the first may be cut short.
 */

/** Pause after the first failure. */
export const COOLOFF_MS_MIN = 500;
/** Longest pause. */
export const COOLOFF_MS_MAX = 60_000;

/** The pauses of one peer. */
export class Cooloff {
  #failures = 0;
  #failedAtMs = -Infinity;
  #pausedUntilMs = -Infinity;
  #busyUntilMs = -Infinity;

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures;
  }

  /** Whether the pause after its last failure is not over. */
  isPaused(nowMs: number): boolean {
    return nowMs < this.#pausedUntilMs;
  }

  /**
   * When the peer may be asked again; in the past if it may be now.
   *
   * @param urgent whether there is nobody else: then the shortest pause will do, which
   *   still keeps a peer that fails at once from being tried in a tight loop.
   */
  freeAtMs(urgent: boolean): number {
    const shortMs = urgent ? this.#failedAtMs + COOLOFF_MS_MIN : Infinity;
    return Math.max(this.#busyUntilMs, Math.min(this.#pausedUntilMs, shortMs));
  }

  /** Failures during a pause belong to the one that began it: work that was under way fails together. */
  failure(nowMs: number): void {
    this.#failedAtMs = nowMs;
    if (this.isPaused(nowMs)) return;
    const pauseMs = Math.min(COOLOFF_MS_MAX, COOLOFF_MS_MIN * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    this.#pausedUntilMs = nowMs + pauseMs;
  }

  /** The peer is busy until then. Not a failure. */
  refused(retryAtMs: number): void {
    if (Number.isFinite(retryAtMs)) this.#busyUntilMs = Math.max(this.#busyUntilMs, retryAtMs);
  }

  success(): void {
    this.#failures = 0;
    this.#pausedUntilMs = -Infinity;
  }

  /** Ends the pause; the failures are still remembered, so that the next pause is longer. */
  lift(): void {
    this.#pausedUntilMs = -Infinity;
  }
}
