/**
 * States on a host's own disk: which are there, when one is due, and that none is written before a quorum
 * has signed it. A state without its proof would be of no use to anybody after a restart, its host
 * included; the weights that the run's manifest names need none. How files are written is for the store.
 */

import { reasonOf } from "../role.ts";
import { isQuorate, type StateProof, UnprovedState } from "../../routing/mod.ts";
import { KEPT_SNAPSHOTS, type StateManifest, type WholeState } from "../../stages/mod.ts";
import type { Holding, Prove } from "./holding.ts";
import type { WorkQueue } from "./work_queue.ts";

/** States of a stage that survive this process. */
export interface SnapshotStore {
  /** What is there, newest first, and who was kept beside it as having signed it. Damaged ones are not listed. */
  list(stage: number): Promise<readonly KeptState[]>;
  /**
   * Reads one whole.
   *
   * @throws {Error} if it is not there or damaged.
   */
  load(
    stage: number,
    stateHash: string,
  ): Promise<{ readonly manifest: StateManifest; readonly bytes: Uint8Array }>;
  /**
   * Pieces by name, as far as files on the disk hold them, damaged ones included. Each is what its name
   * says. Without it a state that is not on the disk whole is fetched whole.
   */
  salvage?(stage: number, pieces: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>>;
  /** Writes one down, so that a crash meanwhile leaves the ones before it whole. */
  save(
    stage: number,
    manifest: StateManifest,
    bytes: Uint8Array,
    proof: StateProof | undefined,
  ): Promise<void>;
}

/** A state that is on a disk. */
export interface KeptState {
  /** Optimizer steps that it has taken. */
  readonly step: number;
  /** Hex. */
  readonly stateHash: string;
  /** `undefined` if what is kept is none. */
  readonly proof: StateProof | undefined;
}

/** What snapshots are made of. */
export interface SnapshotsParts {
  readonly holding: Holding;
  readonly queue: WorkQueue;
  /** Without it nothing is ever kept. */
  readonly store: SnapshotStore | undefined;
  /** Steps between two that are due. */
  readonly everySteps: number;
  readonly prove: Prove;
  /** Hashes that the run's manifest gives for the states before the first step, if it does. */
  readonly firstStates?: readonly string[];
  /** One could not be written. */
  readonly trouble: (reason: string) => void;
}

/** The snapshots of the stage that is held. */
export class Snapshots {
  readonly #parts: SnapshotsParts;
  /** On the disk, and proved. */
  #kept: readonly KeptState[] = [];
  /** To be written as soon as it is proved. */
  #unsaved: WholeState | undefined;
  /** The last one that was due has not been proved. */
  #isOwed = false;

  constructor(parts: SnapshotsParts) {
    this.#parts = parts;
  }

  /** States on the disk that a quorum has signed, or the manifest names, the newest first. */
  get kept(): readonly KeptState[] {
    return this.#kept;
  }

  /** Whether the present state is among them. */
  get holdPresent(): boolean {
    return this.find(this.#parts.holding.stateHash) !== undefined;
  }

  /** The one of this name. */
  find(wanted: string | undefined): KeptState | undefined {
    return this.#kept.find(({ stateHash }) => stateHash === wanted);
  }

  // --- the disk -----------------------------------------------------------------------------------

  /**
   * Looks at the disk for the states of a stage that a quorum has signed, or the manifest names. Of any
   * other this host would have to be believed, and it may have strayed.
   */
  async list(stage: number): Promise<readonly KeptState[]> {
    const { store, prove } = this.#parts;
    const proved: KeptState[] = [];
    for (const { step, stateHash, proof } of await store?.list(stage) ?? []) {
      if (step === 0 && this.#isFirst(stage, stateHash)) {
        proved.push({ step, stateHash, proof: undefined });
        continue;
      }
      try {
        const checked = await prove({ stage, step, stateHash }, proof === undefined ? [] : [proof]);
        proved.push({ step, stateHash, proof: checked });
      } catch (error) {
        if (!(error instanceof UnprovedState)) throw error;
      }
    }
    return proved;
  }

  /**
   * Reads one that was listed.
   *
   * @throws {Error} if it is not there any more, or damaged.
   */
  load(stage: number, stateHash: string): Promise<WholeState> {
    return this.#parts.store!.load(stage, stateHash);
  }

  /** Looks in all files of the stage for pieces; `found` is told by name which were there. */
  salvage(
    pieces: readonly string[],
    found: (pieces: ReadonlyMap<string, Uint8Array>) => void,
    failed: (error: unknown) => void,
  ): void {
    const { store, queue, holding } = this.#parts;
    if (store?.salvage === undefined) return;
    const { index } = holding.stage!;
    const work = { kind: "salvage", amount: pieces.length };
    queue.perform(work, () => store.salvage!(index, pieces), found, failed);
  }

  // --- what is known of it ------------------------------------------------------------------------

  /** The stage was opened, and this was listed. */
  open(kept: readonly KeptState[]): void {
    this.#kept = kept;
  }

  /** The stage is left. */
  leave(): void {
    this.#kept = [];
    this.#unsaved = undefined;
    this.#isOwed = false;
  }

  /** That one is not to be had from the disk. */
  forget(unread: string): void {
    this.#kept = this.#kept.filter(({ stateHash }) => stateHash !== unread);
  }

  /** Another state is held: of the one before nobody can prove anything any more. */
  dropUnsaved(): void {
    this.#unsaved = undefined;
  }

  // --- writing ------------------------------------------------------------------------------------

  /** A step was taken. @returns whether its state is to be kept, see {@link copy}. */
  isDue({ atOnce }: { readonly atOnce: boolean }): boolean {
    const { store, holding, everySteps } = this.#parts;
    if (store === undefined) return false;
    // What was not proved by now was never going to be: some of its replicas died as they took the step.
    this.#unsaved = undefined;
    if (holding.step % everySteps === 0 || atOnce) this.#isOwed = true;
    return this.#isOwed;
  }

  /** Takes a copy of the present state, and writes it once it is proved: the next step may begin before that. */
  copy(): void {
    const { queue, holding, trouble } = this.#parts;
    const stage = holding.stage!;
    queue.perform({ kind: "export", amount: stage.parameters }, () => stage.exportState(), (state) => {
      this.#unsaved = state;
      this.saveProved();
    }, (error) => trouble(reasonOf(error)));
  }

  /** Takes a copy of the present state if it would be lost with this host. */
  copyUnlessKept(): void {
    const { store, holding } = this.#parts;
    // The state before the first step follows from the run's seed.
    if (store === undefined || holding.step === 0) return;
    if (!this.holdPresent && this.#unsaved === undefined) this.copy();
  }

  /** Keeps the weights that the run begins with, which have come from others: they have no other place here. */
  copyFirst(): void {
    if (this.#parts.store !== undefined && !this.holdPresent) this.copy();
  }

  /** Writes the copy down, if there is one and it is proved. */
  saveProved(): void {
    const { queue, holding, store, trouble } = this.#parts;
    const state = this.#unsaved;
    if (state === undefined || state.manifest.stateHash !== holding.stateHash) return;
    const { step, stateHash } = state.manifest;
    const isFirst = step === 0 && this.#isFirst(holding.stage!.index, stateHash);
    const { proof } = holding;
    if (!isFirst && (proof === undefined || !isQuorate(proof))) return;
    const { index, parameters } = holding.stage!;
    this.#unsaved = undefined;
    this.#isOwed = false;
    queue.perform(
      { kind: "snapshot", amount: parameters },
      () => store!.save(index, state.manifest, state.bytes, proof),
      () => {
        if (holding.stage?.index !== index) return;
        this.#kept = [{ step, stateHash, proof }, ...this.#kept].slice(0, KEPT_SNAPSHOTS);
      },
      (error) => trouble(reasonOf(error)),
    );
  }

  #isFirst(stage: number, stateHash: string): boolean {
    return this.#parts.firstStates?.[stage] === stateHash;
  }
}
