/** A disk that outlives its host: the states of one host, in memory. It forgets nothing but the oldest. */

import type { KeptState, SnapshotStore } from "../actors/host/snapshots.ts";
import type { StateProof } from "../routing/mod.ts";
import { KEPT_SNAPSHOTS, type WholeState } from "../stages/mod.ts";

/** The snapshots of one host, whatever its stage; those of another stage don't fit its run. */
export class MemorySnapshots implements SnapshotStore {
  /** By stage, newest first. A test may take some away. */
  readonly states = new Map<number, (WholeState & { readonly proof: StateProof | undefined })[]>();

  list(stage: number): Promise<readonly KeptState[]> {
    return Promise.resolve(
      this.#of(stage).map(({ manifest: { step, stateHash }, proof }) => ({ step, stateHash, proof })),
    );
  }

  load(stage: number, stateHash: string): Promise<WholeState> {
    const state = this.#of(stage).find(({ manifest }) => manifest.stateHash === stateHash);
    if (state !== undefined) return Promise.resolve(state);
    return Promise.reject(new Error(`Cannot load state ${stateHash}: it is not there`));
  }

  save(
    stage: number,
    manifest: WholeState["manifest"],
    bytes: Uint8Array,
    proof: StateProof | undefined,
  ): Promise<void> {
    this.states.set(stage, [{ manifest, bytes, proof }, ...this.#of(stage)].slice(0, KEPT_SNAPSHOTS));
    return Promise.resolve();
  }

  #of(stage: number) {
    return this.states.get(stage) ?? [];
  }
}
