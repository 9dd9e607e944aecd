/** The promise: in every step that is applied, each micro-batch is of the same data at every stage. */

import type { PeerId } from "../../actors/core/actor.ts";
import type { AppliedSum } from "../counting_stage.ts";
import type { Report } from "./checker.ts";

/** Steps that are remembered: no stage trails further behind and applies what others have. */
const STEPS_KEPT = 64;

interface Seen {
  readonly corpora: string;
  readonly peer: PeerId;
  readonly stage: number;
}

/** Compares what the stages have applied with each other. */
export class SameData {
  readonly #report: Report;
  /** By step: whose data made it up, according to whoever was first seen to apply it. */
  readonly #steps = new Map<number, Seen>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** A host applies a sum. */
  applied(peer: PeerId, { stage, step, corpora }: AppliedSum): void {
    const own: Seen = { corpora: corpora.join(" "), peer, stage };
    const first = this.#steps.get(step);
    if (first === undefined) {
      this.#steps.set(step, own);
      this.#steps.delete(step - STEPS_KEPT);
    } else if (first.corpora !== own.corpora) {
      const [one, other] = [own, first].map(({ peer, stage, corpora }) =>
        `${peer} of stage ${stage} has applied data ${corpora}`
      );
      this.#report({ checker: "same data", words: `of step ${step} ${one}, and ${other}` });
    }
  }

  /** The run has gone back to this step, and takes those after it again, perhaps with other data. */
  wentBack(step: number): void {
    for (const applied of this.#steps.keys()) if (applied >= step) this.#steps.delete(applied);
  }
}
