/**
 * What passed between a peer and its neighbours in walks that came back: enough to
 * say what this peer worked in a step, and whether what a neighbour says of its own
 * work is what was seen from here. It signs nothing and pays nobody.
 */

import { createHash } from "node:crypto";
import type { PeerId } from "./core/actor.ts";
import { WORK_NOTES_MAX, WORK_STEPS_KEPT } from "./limits.ts";
import { type MessageOf, type Tensor, type Walk, walkKey } from "./messages.ts";

/** What passed in one walk. */
export type WorkNote = Omit<MessageOf<"worked">, "kind">;

/** A neighbour's claim about one micro-batch. */
export interface Claim {
  /** See {@link requestOf}. */
  readonly request: string;
  /** SHA-256, hex with `0x`. */
  readonly inRoot: string;
  readonly outRoot: string;
}

/** Stands where nothing went out: at the last stage. */
export const NO_ROOT = `0x${"0".repeat(64)}`;

/** Names a walk on a ledger: 32 bytes, hex with `0x`. */
export function requestOf(run: string, walk: Walk): string {
  return `0x${createHash("sha256").update(`${run} ${walkKey(walk)}`).digest("hex")}`;
}

/** Digest of a tensor: SHA-256 over its shape and its values. */
export function rootOf({ shape, data }: Tensor): string {
  const { buffer, byteOffset, byteLength } = data;
  return createHash("sha256").update(`${shape.join(" ")}\n`)
    .update(new Uint8Array(buffer, byteOffset, byteLength)).digest("hex");
}

/** A root as it stands on a sheet. */
export function rootText(root: string | null): string {
  return root === null ? NO_ROOT : `0x${root}`;
}

/** Remembers the walks of the last steps. */
export class WorkLog {
  readonly #run: string;
  readonly #notes = new Map<string, WorkNote>();
  #lastStep = 0;

  /** @param run hash of its manifest. */
  constructor(run: string) {
    this.#run = run;
  }

  /** How many walks are remembered. */
  get size(): number {
    return this.#notes.size;
  }

  /** Notes a walk that came back. */
  note(note: WorkNote): void {
    this.#notes.set(requestOf(this.#run, note.walk), note);
    this.#lastStep = Math.max(this.#lastStep, note.walk.step);
    for (const [request, { walk }] of this.#notes) {
      if (walk.step > this.#lastStep - WORK_STEPS_KEPT && this.#notes.size <= WORK_NOTES_MAX) break;
      this.#notes.delete(request);
    }
  }

  /** What this host accumulated of a step, of these micro-batches; by micro-batch, ascending. */
  counted(step: number, microBatches: readonly number[]): WorkNote[] {
    const wanted = new Set(microBatches);
    const found = new Map<number, WorkNote>();
    for (const note of this.#notes.values()) {
      const { walk } = note;
      // A later one is of a round in which the earlier was forgotten.
      if (note.counted && walk.step === step && wanted.has(walk.microBatch)) found.set(walk.microBatch, note);
    }
    return [...found.values()].sort((a, b) => a.walk.microBatch - b.walk.microBatch);
  }

  /** Whether what a neighbour of a stage claims is what was seen from here. */
  confirms(neighbour: PeerId, stage: number, { request, inRoot, outRoot }: Claim): boolean {
    const note = this.#notes.get(request);
    if (note === undefined) return false;
    if (note.next === neighbour && note.stage === stage - 1) {
      return note.outRoot === null || rootText(note.outRoot) === inRoot;
    }
    return note.previous === neighbour && note.stage === stage + 1 && rootText(note.inRoot) === outRoot;
  }
}
