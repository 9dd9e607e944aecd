/**
 * How long a walk is waited for: several times as long as the slowest of those
 * that usually come back. Before one has come back it goes by how long the first
 * stage took: a walk passes as many stages there and back. While none comes back at
 * all the time grows, so that a model whose walks take longer than anybody thought
 * gets there in the end. One that never comes back while others do makes nobody more
 * patient.
 */

import { WALK_TIMEOUT_DOUBLINGS_MAX, WALK_TIMEOUT_FACTOR, WALK_TIMEOUT_MS_MIN } from "./limits.ts";

/** Weight of a walk that was faster than the slowest: the last twenty or so decide. */
const WEIGHT = 0.05;

/** The patience of one trainer. */
export class Patience {
  readonly #hops: number;
  #fastestHopMs = Infinity;
  #slowestMs = 0;
  #doublings = 0;
  #rewardedAtMs = -Infinity;
  #doubledAtMs = -Infinity;

  /** @param stages that a walk passes, there and back. */
  constructor(stages: number) {
    this.#hops = 2 * stages;
  }

  /** Milliseconds to wait for a walk that sets out now. */
  get ms(): number {
    return Math.max(WALK_TIMEOUT_MS_MIN, WALK_TIMEOUT_FACTOR * this.#usualMs) * 2 ** this.#doublings;
  }

  get #usualMs(): number {
    if (this.#slowestMs > 0 || this.#fastestHopMs === Infinity) return this.#slowestMs;
    return this.#hops * this.#fastestHopMs;
  }

  /** A walk passed the first stage, waiting included. The fastest counts: it waited least. */
  hopped(tookMs: number): void {
    this.#fastestHopMs = Math.min(this.#fastestHopMs, tookMs);
  }

  /** A walk came back after so long. */
  rewarded(tookMs: number, nowMs: number): void {
    this.#slowestMs = Math.max(tookMs, this.#slowestMs + WEIGHT * (tookMs - this.#slowestMs));
    this.#doublings = 0;
    this.#rewardedAtMs = nowMs;
  }

  /** A walk that set out then was waited for in vain. Those that were waited for together count once. */
  disappointed(setOutAtMs: number, nowMs: number): void {
    if (this.#rewardedAtMs >= setOutAtMs || this.#doubledAtMs > setOutAtMs) return;
    this.#doubledAtMs = nowMs;
    this.#doublings = Math.min(this.#doublings + 1, WALK_TIMEOUT_DOUBLINGS_MAX);
  }
}
