/**
 * The states that hosts have left in their data folders, to be read piece by
 * piece. It believes a state only if its replicas have signed it or the run's
 * manifest names it, as a host does, and changes nothing in the folders: their hosts may be at work.
 */

import { join } from "node:path";
import { verify } from "../actors/wire/identity.ts";
import { proveState, readProof, UnprovedState } from "../routing/mod.ts";
import { type Manifest, manifestHash, partition } from "../run/mod.ts";
import { BadState, newestFirst, SnapshotFile, stageLayout } from "../stages/mod.ts";
import { Failure } from "./arguments.ts";
import { snapshotFolderOf } from "./snapshot_folder.ts";
import { FileSource } from "./weight_files.ts";

/** The states of some stages after one step. Disposing of them closes their files. */
export interface OwnStates extends Disposable {
  readonly step: number;
  /** By stage. */
  readonly snapshots: ReadonlyMap<number, SnapshotFile>;
}

/**
 * Finds the newest step at which every one of these stages has a state that holds.
 *
 * @param onRejected told of each file that is damaged, unproved, or of something else.
 * @throws {Failure} if there is none, naming what is missing.
 */
export async function openOwnStates(
  folders: readonly string[],
  manifest: Manifest,
  stages: readonly number[],
  onRejected: (file: string, reason: string) => void,
): Promise<OwnStates> {
  using opened = new DisposableStack();
  const byStage = new Map<number, Map<number, SnapshotFile>>();
  for (const stage of stages) {
    const byStep = new Map<number, SnapshotFile>();
    for (const path of (await Promise.all(folders.map((it) => pathsOf(it, manifest, stage)))).flat()) {
      try {
        const snapshot = await openProved(opened.use(await FileSource.open(path)), manifest, stage);
        byStep.set(snapshot.manifest.step, snapshot);
      } catch (error) {
        if (!(error instanceof BadState || error instanceof UnprovedState)) throw error;
        onRejected(path, error.message);
      }
    }
    if (byStep.size === 0) {
      throw new Failure(`Cannot export stage ${stage}: no snapshot of it in ${folders.join(", ")}`);
    }
    byStage.set(stage, byStep);
  }
  const steps = [...byStage.values()].map((byStep) => new Set(byStep.keys()));
  const step = Math.max(...steps.reduce((common, steps) => common.intersection(steps)));
  if (step < 0) {
    const found = [...byStage].map(([stage, byStep]) => `stage ${stage}: ${[...byStep.keys()].join(", ")}`);
    throw new Failure(`Cannot export stages of one step: snapshots are of other steps (${found.join("; ")})`);
  }
  const snapshots = new Map([...byStage].map(([stage, byStep]) => [stage, byStep.get(step)!]));
  const files = opened.move();
  return { step, snapshots, [Symbol.dispose]: () => files.dispose() };
}

async function pathsOf(folder: string, manifest: Manifest, stage: number): Promise<readonly string[]> {
  const at = join(snapshotFolderOf(join(folder, "snapshots"), manifest), `stage-${stage}`);
  try {
    const names = (await Array.fromAsync(Deno.readDir(at))).map(({ name }) => name);
    return newestFirst(names).map(({ name }) => join(at, name));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return [];
  }
}

async function openProved(source: FileSource, manifest: Manifest, stage: number): Promise<SnapshotFile> {
  const run = manifestHash(manifest);
  const layout = stageLayout(manifest.model, partition(manifest)[stage]);
  const snapshot = await SnapshotFile.open(source, { run, stage, layout });
  const { step, stateHash } = snapshot.manifest;
  const { weights } = manifest;
  if (step === 0 && weights.kind !== "random" && weights.states[stage] === stateHash) return snapshot;
  const proof = readProof(snapshot.note);
  await proveState({ run, stage, step, stateHash }, proof === undefined ? [] : [proof], verify);
  return snapshot;
}
