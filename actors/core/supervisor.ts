/**
 * What to do about an actor that threw: restart it after a pause that doubles,
 * and give up when it crashes too often. Decides only; the actor's cell acts.
 */

/** How patient a supervisor is. */
export interface SupervisionLimits {
  /** Pause before the first restart in a window. */
  readonly pauseMs: number;
  /** Longest pause. */
  readonly pauseMsMax: number;
  /** Restarts within one window. The next crash escalates. */
  readonly restartsMax: number;
  /** How far back crashes count. */
  readonly windowMs: number;
}

/** A bug that shows once per message costs a second or two; one at every start ends the peer in a minute. */
export const SUPERVISION_DEFAULT: SupervisionLimits = {
  pauseMs: 100,
  pauseMsMax: 30_000,
  restartsMax: 8,
  windowMs: 600_000,
};

/** What is to be done. */
export type Verdict =
  | { readonly kind: "restart"; readonly pauseMs: number }
  | { readonly kind: "escalate"; readonly crashes: number };

/** The record of one actor's crashes. */
export class Supervisor {
  readonly #limits: SupervisionLimits;
  #crashesAtMs: number[] = [];

  constructor(limits: SupervisionLimits = SUPERVISION_DEFAULT) {
    this.#limits = limits;
  }

  /** Takes note of a crash, and judges. */
  crashed(nowMs: number): Verdict {
    const { pauseMs, pauseMsMax, restartsMax, windowMs } = this.#limits;
    // At most restartsMax + 1 remain: after that the actor is not restarted.
    this.#crashesAtMs = this.#crashesAtMs.filter((atMs) => nowMs - atMs < windowMs);
    this.#crashesAtMs.push(nowMs);
    const crashes = this.#crashesAtMs.length;
    if (crashes > restartsMax) return { kind: "escalate", crashes };
    return { kind: "restart", pauseMs: Math.min(pauseMsMax, pauseMs * 2 ** (crashes - 1)) };
  }
}
