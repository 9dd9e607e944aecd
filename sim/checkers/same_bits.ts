/** The promise: whoever works on a step of a stage, or has applied it, holds the same bits as all others who do. */

import type { PeerId } from "../../actors/core/actor.ts";
import type { AppliedSum, Counted } from "../counting_stage.ts";
import type { Report } from "./checker.ts";

/** Steps of a stage that are remembered: nobody trails further behind and works. */
const STEPS_KEPT = 64;

interface Seen {
  readonly check: number;
  readonly peer: PeerId;
}

/** Compares the states of hosts with each other. */
export class SameBits {
  readonly #report: Report;
  /** By stage: steps taken → who was first seen there, and with what. */
  readonly #stages = new Map<number, Map<number, Seen>>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** A host has applied a step. */
  applied(peer: PeerId, { stage, step, check }: AppliedSum): void {
    this.#compare(peer, stage, step + 1, check);
  }

  /** A host counts a micro-batch, by the state that it holds. */
  counted(peer: PeerId, { stage, step, check }: Counted): void {
    this.#compare(peer, stage, step, check);
  }

  /** The run has gone back to this step, and takes those after it again: by other hosts, who add up in another order. */
  wentBack(step: number): void {
    for (const steps of this.#stages.values()) {
      for (const taken of steps.keys()) if (taken > step) steps.delete(taken);
    }
  }

  #compare(peer: PeerId, stage: number, taken: number, check: number): void {
    const steps = this.#stages.get(stage) ?? new Map<number, Seen>();
    this.#stages.set(stage, steps);
    const first = steps.get(taken);
    if (first === undefined) {
      steps.set(taken, { check, peer });
      steps.delete(taken - STEPS_KEPT);
    } else if (first.check !== check) {
      this.#report({
        checker: "same bits",
        words: `${peer} and ${first.peer} hold different states of stage ${stage} after ${taken} steps`,
      });
    }
  }
}
