/**
 * What a host holds: a stage, the state at which that stands, and who has signed that. The parts of a
 * host meet here instead of telling each other. It computes no state and judges no proof.
 */

import type { StateClaim, StateProof } from "../../routing/mod.ts";
import type { Stage, StateManifest } from "../../stages/mod.ts";

/** Checks who has signed a state of this run; rejects with `UnprovedState` unless it was a quorum. */
export type Prove = (claim: Omit<StateClaim, "run">, proofs: readonly StateProof[]) => Promise<StateProof>;

/** The stage of one host, and its state. */
export class Holding {
  #stage: Stage | undefined;
  #manifest: StateManifest | undefined;
  #proof: StateProof | undefined;
  #isOpening = false;

  /** `undefined` until it is open, and between two. */
  get stage(): Stage | undefined {
    return this.#stage;
  }

  /** Whether another stage is to be held, or the first one: the one that is here, if any, is about to be left. */
  get isOpening(): boolean {
    return this.#isOpening;
  }

  /** Optimizer steps that the state has taken; 0 without a stage. */
  get step(): number {
    return this.#stage?.step ?? 0;
  }

  /** Names the state, in hex; `undefined` without a stage, and while what the stage holds is nobody's state. */
  get stateHash(): string | undefined {
    return this.#manifest?.stateHash;
  }

  /** Who has signed the state, as far as is known; nobody has before the first step. */
  get proof(): StateProof | undefined {
    return this.#proof;
  }

  /** A stage is to be opened. */
  open(): void {
    this.#isOpening = true;
  }

  /** Holds this stage from now on; at which state is for {@link stand} to say. */
  hold(stage: Stage): void {
    this.#isOpening = false;
    this.#stage = stage;
  }

  /** The stage stands at this state from now on. */
  stand(manifest: StateManifest, proof: StateProof | undefined): void {
    this.#manifest = manifest;
    this.#proof = proof;
  }

  /** More have signed the present state than was known. */
  prove(proof: StateProof): void {
    this.#proof = proof;
  }

  /** Holds nothing. */
  leave(): void {
    this.#stage = this.#manifest = this.#proof = undefined;
  }
}
