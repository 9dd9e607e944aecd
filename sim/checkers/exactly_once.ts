/** The promise: in every step that a stage applies, each micro-batch is counted once, and nothing else is. */

import type { PeerId } from "../../actors/core/actor.ts";
import type { AppliedSum } from "../counting_stage.ts";
import type { Report } from "./checker.ts";

/** Micro-batches that a report names. */
const NAMED_MAX = 4;

/** Looks at every sum that is applied. */
export class ExactlyOnce {
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  /** A host applies a sum. */
  applied(peer: PeerId, { stage, step, counts, strays }: AppliedSum): void {
    const wrong = [...counts.entries()].filter(([, count]) => count !== 1);
    if (wrong.length === 0 && strays === 0) return;
    const named = wrong.slice(0, NAMED_MAX).map(([microBatch, count]) => `${microBatch} ${count} times`);
    if (wrong.length > NAMED_MAX) named.push(`${wrong.length - NAMED_MAX} more`);
    if (strays !== 0) named.push(`${strays} of other steps`);
    this.#report({
      checker: "exactly once",
      words: `${peer} applied step ${step} of stage ${stage} with micro-batch ${named.join(", ")}`,
    });
  }
}
