/** The promise: nobody holds two stages at once, nor counts for two stages in one step. */

import type { PeerId } from "../../actors/core/actor.ts";
import type { Counted } from "../counting_stage.ts";
import type { Report } from "./checker.ts";

/** Follows which stages each host has open. */
export class OneStage {
  readonly #report: Report;
  readonly #open = new Map<PeerId, Set<number>>();
  readonly #counted = new Map<PeerId, { readonly step: number; readonly stage: number }>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** A host opens a stage. */
  opened(peer: PeerId, stage: number): void {
    const stages = this.#open.get(peer) ?? new Set<number>();
    this.#open.set(peer, stages.add(stage));
    if (stages.size < 2) return;
    this.#report({
      checker: "one stage",
      words: `${peer} holds stages ${[...stages].join(" and ")} at once`,
    });
  }

  /** It lets go of it. */
  closed(peer: PeerId, stage: number): void {
    this.#open.get(peer)?.delete(stage);
  }

  /** It counts a micro-batch. */
  counted(peer: PeerId, { step, stage }: Counted): void {
    const last = this.#counted.get(peer);
    if (last?.step === step && last.stage === stage) return;
    if (last?.step === step) {
      this.#report({
        checker: "one stage",
        words: `${peer} counted for stages ${last.stage} and ${stage} in step ${step}`,
      });
    }
    this.#counted.set(peer, { step, stage });
  }

  /** The host is gone, with all that it held. */
  gone(peer: PeerId): void {
    this.#open.delete(peer);
    this.#counted.delete(peer);
  }
}
