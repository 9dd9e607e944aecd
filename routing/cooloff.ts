/**
 * How long a peer is left alone. After a failure: twice as long each time, up to a
 * bound, until a success forgets the failures. When it asked to be: until then.
 * The two are kept apart, because only the first may be cut short.
 *
 * A failure that wasted time (the peer took work and kept silent) weighs more than
 * one that was noticed at once: its pause is a multiple of what it wasted, only a
 * success forgives it, and until then the peer is tried with one task at a time.
 */

/** Pause after the first failure. */
export const COOLOFF_MS_MIN = 500;
/** Longest pause, unless a failure wasted more than a fortieth of it. */
export const COOLOFF_MS_MAX = 60_000;

/** The first pause after a wasted time is so many times as long, */
export const COOLOFF_PER_WASTE_MIN = 4;
/** and the longest: whoever always wastes time costs a fortieth of it in the end. */
export const COOLOFF_PER_WASTE_MAX = 40;

/** No single failure is held against a peer as more. */
const WASTE_MS_MAX = 3_600_000;

/** What a peer did: computed a task, or also brought back what came of it later. */
export type Deed = "computed" | "returned";

/** The pauses of one peer. */
export class Cooloff {
  #failures = 0;
  #failedAtMs = -Infinity;
  #pausedUntilMs = -Infinity;
  #busyUntilMs = -Infinity;
  #suspectUntilMs = -Infinity;
  #triedUntilMs = -Infinity;
  /** Of the failures since the last success, the one that wasted most. */
  #wastedMs = 0;
  /** What it has to do to be forgiven. */
  #owes: Deed = "computed";

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures;
  }

  /** Whether it is to be tried with one task before it gets more. */
  get onTrial(): boolean {
    return this.#wastedMs > 0;
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
    return Math.max(
      this.#busyUntilMs,
      this.#suspectUntilMs,
      this.#triedUntilMs,
      Math.min(this.#pausedUntilMs, shortMs),
    );
  }

  /**
   * Failures during a pause belong to the one that began it: work that was under way fails together.
   *
   * @param wastedMs how long the sender waited in vain; 0 if the failure was noticed at once.
   * @param owes what the peer failed to do, and has to do to be forgiven.
   */
  failure(nowMs: number, wastedMs = 0, owes: Deed = "computed"): void {
    this.#failedAtMs = nowMs;
    this.#triedUntilMs = -Infinity;
    const wasted = wastedMs > 0 ? Math.min(wastedMs, WASTE_MS_MAX) : 0;
    this.#wastedMs = Math.max(this.#wastedMs, wasted);
    if (owes === "returned") this.#owes = owes;
    if (this.isPaused(nowMs)) return;
    const firstMs = Math.max(COOLOFF_MS_MIN, COOLOFF_PER_WASTE_MIN * wasted);
    const longestMs = Math.max(COOLOFF_MS_MAX, COOLOFF_PER_WASTE_MAX * wasted);
    this.#pausedUntilMs = nowMs + Math.min(longestMs, firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
  }

  /** The peer is busy until then. Not a failure. */
  refused(retryAtMs: number): void {
    this.#triedUntilMs = -Infinity;
    if (Number.isFinite(retryAtMs)) this.#busyUntilMs = Math.max(this.#busyUntilMs, retryAtMs);
  }

  /** It may have failed: no more work until that is known, at the latest then. */
  suspect(untilMs: number): void {
    this.#suspectUntilMs = untilMs;
  }

  /** It had not. */
  clear(): void {
    this.#suspectUntilMs = -Infinity;
  }

  /** It was given a task: while it is on trial, no other one for as long as it wasted the last time. */
  given(nowMs: number): void {
    if (this.onTrial) this.#triedUntilMs = nowMs + Math.max(COOLOFF_MS_MIN, this.#wastedMs);
  }

  /** It did what it was given. Whoever owes a return is not forgiven for less. */
  success(deed: Deed = "returned"): void {
    if (deed === "computed" && this.#owes === "returned") return;
    this.#failures = 0;
    this.#wastedMs = 0;
    this.#owes = "computed";
    this.#pausedUntilMs = this.#triedUntilMs = -Infinity;
  }

  /**
   * Ends the pause, if the peer was only not to be reached; the failures are still
   * remembered, so that the next pause is longer. That it speaks doesn't show that it works.
   */
  lift(): void {
    if (!this.onTrial) this.#pausedUntilMs = -Infinity;
  }
}
