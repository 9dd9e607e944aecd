/** A disk that outlives its host: the states of one host, in memory. It forgets nothing but the oldest. */

import type { SnapshotStore } from "../actors/host.ts";
import { KEPT_SNAPSHOTS, type WholeState } from "../stages/mod.ts";

/** The snapshots of one host, whatever its stage; those of another stage don't fit its run. */
export class MemorySnapshots implements SnapshotStore {
  /** By stage, newest first. A test may take some away. */
  readonly states = new Map<number, WholeState[]>();

  list(stage: number): Promise<readonly { readonly step: number; readonly stateHash: string }[]> {
    return Promise.resolve(this.#of(stage).map(({ manifest }) => manifest));
  }

  load(stage: number, stateHash: string): Promise<WholeState> {
    const state = this.#of(stage).find(({ manifest }) => manifest.stateHash === stateHash);
    if (state !== undefined) return Promise.resolve(state);
    return Promise.reject(new Error(`Cannot load state ${stateHash}: it is not there`));
  }

  save(stage: number, manifest: WholeState["manifest"], bytes: Uint8Array): Promise<void> {
    this.states.set(stage, [{ manifest, bytes }, ...this.#of(stage)].slice(0, KEPT_SNAPSHOTS));
    return Promise.resolve();
  }

  #of(stage: number): WholeState[] {
    return this.states.get(stage) ?? [];
  }
}
