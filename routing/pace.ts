/**
 * How fast a peer is: an exponential moving average of seconds per token. A
 * time-out is a sample too, of the time that was waited.
 */

/** Weight of the newest sample: the last ten or so decide. */
const WEIGHT = 0.1;

/**
 * Nobody is believed to be faster: beyond any machine, and not nothing, so that
 * a peer that says it needs no time doesn't get all the work there is.
 */
export const SECONDS_PER_TOKEN_MIN = 1e-7;

/** Nobody is counted as slower: two weeks for a thousand tokens. */
export const SECONDS_PER_TOKEN_MAX = 1e3;

/** What some seconds count as, per token: within the bounds, the slowest if they are no duration. */
export function paceOf(seconds: number, tokens: number): number {
  const secondsPerToken = seconds / tokens;
  if (!(secondsPerToken >= 0)) return SECONDS_PER_TOKEN_MAX;
  return Math.min(SECONDS_PER_TOKEN_MAX, Math.max(SECONDS_PER_TOKEN_MIN, secondsPerToken));
}

/** The pace of one peer. */
export class Pace {
  #secondsPerToken: number | undefined;

  /** Seconds per token; `undefined` while there was no sample. */
  get secondsPerToken(): number | undefined {
    return this.#secondsPerToken;
  }

  /** Takes a sample: seconds per token, see {@link paceOf}. */
  sample(secondsPerToken: number): void {
    this.#secondsPerToken = this.#secondsPerToken === undefined
      ? secondsPerToken
      : (1 - WEIGHT) * this.#secondsPerToken + WEIGHT * secondsPerToken;
  }
}
