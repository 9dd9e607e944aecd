/**
 * How fast a peer is: an exponential moving average of seconds per token. A
 * time-out is a sample too, of the time that was waited. Nothing is known of a
 * newcomer, so it counts as instant, and is tried at once.
 */

/** Weight of the newest sample: the last ten or so decide. */
const WEIGHT = 0.1;

/** The pace of one peer. */
export class Pace {
  #secondsPerToken: number | undefined;

  /** Seconds per token; 0 while nothing is known. */
  get secondsPerToken(): number {
    return this.#secondsPerToken ?? 0;
  }

  /** Whether there was a sample. */
  get known(): boolean {
    return this.#secondsPerToken !== undefined;
  }

  /** Takes a sample. Samples that are no durations are ignored: they come from strangers. */
  sample(seconds: number, tokens: number): void {
    if (!Number.isFinite(seconds) || seconds < 0 || !(tokens > 0)) return;
    const sample = seconds / tokens;
    this.#secondsPerToken = this.#secondsPerToken === undefined
      ? sample
      : (1 - WEIGHT) * this.#secondsPerToken + WEIGHT * sample;
  }
}
