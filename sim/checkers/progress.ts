/** The promise: once a core is whole again, steps are taken again within a bound. Before that nothing is promised. */

import type { AppliedSum } from "../counting_stage.ts";
import type { Report } from "./checker.ts";

/** Steps that the whole model has to take after the heal: the first may have been under way. */
export const STEPS_AFTER_HEAL = 3;

/** Follows the step up to which every stage has come. */
export class Progress {
  readonly #report: Report;
  readonly #boundMs: number;
  readonly #taken: number[];
  #healed: { readonly atMs: number; readonly step: number } | undefined;
  #over = false;

  constructor(report: Report, options: { readonly stages: number; readonly boundMs: number }) {
    this.#report = report;
    this.#boundMs = options.boundMs;
    this.#taken = new Array<number>(options.stages).fill(0);
  }

  /** Steps that some host of every stage has taken. */
  get step(): number {
    return Math.min(...this.#taken);
  }

  /** A host has applied a step. */
  applied({ stage, step }: AppliedSum): void {
    this.#taken[stage] = Math.max(this.#taken[stage], step + 1);
  }

  /** Nothing goes wrong from now on, and who is needed is there. */
  healed(nowMs: number): void {
    this.#healed = { atMs: nowMs, step: this.step };
  }

  /** Whether the run has shown that it goes on. */
  get resumed(): boolean {
    return this.#healed !== undefined && this.step >= this.#healed.step + STEPS_AFTER_HEAL;
  }

  /** Asked every now and then. */
  looked(nowMs: number): void {
    if (this.#healed === undefined || this.#over || this.resumed) return;
    if (nowMs - this.#healed.atMs <= this.#boundMs) return;
    this.#over = true;
    this.#report({
      checker: "progress",
      words: `${this.step - this.#healed.step} of ${STEPS_AFTER_HEAL} steps were taken in the ` +
        `${this.#boundMs} ms after the heal; the run stands at step ${this.step}`,
    });
  }
}
