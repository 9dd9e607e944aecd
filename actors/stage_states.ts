/**
 * The state of each stage on which the hosts of a run have agreed, and who has signed it, as far as is
 * known. Nothing is checked here: who needs a state does that, and a lie costs time until the next step is
 * taken. It counts no hosts and sends nothing.
 */

import type { Hello } from "./coordination_events.ts";
import type { PeerId } from "./core/actor.ts";
import type { MessageOf } from "./messages.ts";
import { isQuorate, joinProofs, type StateProof } from "../routing/mod.ts";

/** What a host has applied. */
export interface AppliedState {
  readonly peer: PeerId;
  readonly stage: number;
  readonly report: MessageOf<"applied">;
}

/** The states of all stages at one step. */
export class StageStates {
  #hashes: readonly string[] = [];
  #proofs: (StateProof | undefined)[] = [];

  /** By stage; none before the run is gathered. */
  get hashes(): readonly string[] {
    return this.#hashes;
  }

  /** Who has signed the state of a stage, as a restore tells it. */
  proofOf(stage: number): StateProof | null {
    return this.#proofs[stage] ?? null;
  }

  /** Whether a host stands at the state of its stage, or says so. */
  isAt(stage: number, stateHash: string | null): boolean {
    return stateHash === this.#hashes[stage];
  }

  /** These are the states from now on, and nobody is known to have signed them. */
  begin(hashes: readonly string[]): void {
    this.#hashes = hashes;
    this.#proofs = [];
  }

  /** What a host that doesn't serve knows of who signed its state may be more than what is known here. */
  learn(stage: number, { stateHash, report }: Hello): void {
    const proof = report?.proof;
    if (proof == null || !this.isAt(stage, stateHash)) return;
    const known = this.#proofs[stage];
    if (known !== undefined && isQuorate(known)) return;
    this.#proofs[stage] = joinProofs(known === undefined ? [proof] : [known, proof]);
  }

  /**
   * A step was taken, to these states.
   *
   * @param replicas by stage: who took part.
   * @param applied by those who have answered.
   * @returns those among them that stand at the state of their stage.
   */
  take(
    hashes: readonly string[],
    replicas: readonly (readonly PeerId[])[],
    applied: readonly AppliedState[],
  ): readonly AppliedState[] {
    this.#hashes = hashes;
    const agreeing = applied.filter(({ stage, report }) => this.isAt(stage, report.stateHash));
    this.#proofs = replicas.map((replicas, stage) => ({
      replicas,
      votes: agreeing.filter((it) => it.stage === stage)
        .map(({ peer, report: { signature } }) => ({ peer, signature })),
    }));
    return agreeing;
  }
}
