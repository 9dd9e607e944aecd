/** The promise: no actor of an honest peer crashes, whatever it is told, and no run is given up. */

import type { TraceEvent } from "../../actors/core/trace.ts";
import type { RunEvent } from "../../actors/report.ts";
import type { Report } from "./checker.ts";

/** Listens to the trace and to the run. */
export class NoCrash {
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  /** Something happened to an actor. */
  traced({ event, peer, actor, fields }: TraceEvent): void {
    if (event !== "crash") return;
    this.#report({ checker: "no crash", words: `${actor} of ${peer} crashed: ${fields.error}` });
  }

  /** Something happened to the run. */
  told(event: RunEvent): void {
    if (event.kind !== "failed") return;
    this.#report({
      checker: "no crash",
      words: `the run was given up at step ${event.step}: ${event.reason}`,
    });
  }
}
