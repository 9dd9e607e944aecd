/**
 * A host's snapshots on its own disk: one folder a stage, as the stages room
 * writes it. It joins what the host asks for to what that room offers, and
 * believes nothing that the room has not checked.
 */

import { join } from "node:path";
import type { KeptState, SnapshotStore } from "../actors/host/snapshots.ts";
import { proofText, readProof, type StateProof } from "../routing/mod.ts";
import { type Manifest, manifestHash, sliceOf } from "../run/mod.ts";
import {
  type RejectedSnapshot,
  Snapshots,
  stageLayout,
  type StateManifest,
  type WholeState,
} from "../stages/mod.ts";
import { DenoDisk } from "../stages/deno_disk.ts";

/** Where below a folder the snapshots of a run are: runs share it, and must not tidy each other away. */
export function snapshotFolderOf(folder: string, manifest: Manifest): string {
  return join(folder, manifestHash(manifest).slice(0, 16));
}

/** The snapshots of one run below one folder, which is made when the first is written. */
export class SnapshotFolder implements SnapshotStore {
  readonly #folder: string;
  readonly #manifest: Manifest;
  readonly #run: string;
  readonly #stages = new Map<number, Snapshots>();
  readonly #onRejected: (name: string, reason: string) => void;

  /** @param onRejected told of each file that is damaged, or of another run. */
  constructor(folder: string, manifest: Manifest, onRejected: (name: string, reason: string) => void) {
    this.#manifest = manifest;
    this.#run = manifestHash(manifest);
    this.#folder = snapshotFolderOf(folder, manifest);
    this.#onRejected = onRejected;
  }

  async list(stage: number): Promise<readonly KeptState[]> {
    const { snapshots, rejected } = await this.#snapshots(stage).list();
    this.#tell(rejected);
    return snapshots.map(({ manifest: { step, stateHash }, note }) => ({
      step,
      stateHash,
      proof: readProof(note),
    }));
  }

  /** @throws {Error} if it is not there, or does not hold. */
  async load(stage: number, stateHash: string): Promise<WholeState> {
    const { state, rejected } = await this.#snapshots(stage).load(stateHash);
    this.#tell(rejected);
    if (state === undefined) {
      throw new Error(`Cannot load state ${stateHash} of stage ${stage}: it is not on this disk`);
    }
    return state;
  }

  async save(
    stage: number,
    manifest: StateManifest,
    bytes: Uint8Array,
    proof: StateProof | undefined,
  ): Promise<void> {
    await this.#snapshots(stage).write(manifest, bytes, proof === undefined ? "" : proofText(proof));
  }

  async salvage(stage: number, pieces: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
    return await this.#snapshots(stage).salvage(pieces);
  }

  #tell(rejected: readonly RejectedSnapshot[]): void {
    for (const { name, reason } of rejected) this.#onRejected(name, reason);
  }

  #snapshots(stage: number): Snapshots {
    let snapshots = this.#stages.get(stage);
    if (snapshots === undefined) {
      snapshots = new Snapshots({
        disk: new DenoDisk(join(this.#folder, `stage-${stage}`)),
        run: this.#run,
        stage,
        layout: stageLayout(this.#manifest.model, sliceOf(this.#manifest, stage)),
      });
      this.#stages.set(stage, snapshots);
    }
    return snapshots;
  }
}
