/**
 * Gives the states that a host has to others that ask: to those that would hold the stage, and, if its
 * owner lets it, to those that take weights out of the run. One copy is made for all who want the same
 * one; how its pieces travel is in `state_transfer.ts`. Whoever asks has to judge for itself what it gets.
 */

import type { Context, PeerId } from "../core/actor.ts";
import { REPLICAS_MAX } from "../limits.ts";
import { askerOf, type Message, type MessageOf } from "../messages.ts";
import { Donation } from "../state_transfer.ts";
import type { Holding } from "./holding.ts";
import type { Snapshots } from "./snapshots.ts";
import type { WorkQueue } from "./work_queue.ts";

/** What giving is made of. */
export interface GivingParts {
  readonly holding: Holding;
  readonly queue: WorkQueue;
  readonly snapshots: Snapshots;
  /** Whether states are given to those who say that they take them out of the run. */
  readonly mayExport: boolean;
}

/** What one host gives of its states. */
export class Giving {
  readonly #context: Context<Message>;
  readonly #parts: GivingParts;
  readonly #donation: Donation;
  /** Who waits for a copy of which state: each once, however often it asks. */
  readonly #askers = new Map<PeerId, MessageOf<"stateRequest">>();

  constructor(context: Context<Message>, parts: GivingParts) {
    this.#context = context;
    this.#parts = parts;
    this.#donation = new Donation(context);
  }

  /** Somebody wants a state whole. */
  onStateRequest(from: PeerId, message: MessageOf<"stateRequest">): void {
    const { purpose, stateHash } = message;
    if (purpose === "export" && !this.#parts.mayExport) return this.#refuseExport(from);
    if (this.#donation.holds(stateHash)) return this.#donation.offer(from, purpose);
    if (!this.#has(stateHash)) return this.#tellGone(from, message);
    const waits = this.#askers.has(from);
    if (!waits && this.#askers.size >= REPLICAS_MAX) return this.#tellGone(from, message);
    this.#askers.set(from, message);
    if (!waits) this.#parts.queue.alone(() => this.#copyFor(from));
  }

  /** Somebody wants a piece of a state that it was offered. */
  onPieceRequest(from: PeerId, message: MessageOf<"pieceRequest">): void {
    this.#donation.onPieceRequest(from, message);
  }

  /** Tells which states can be had, with what proves them: whoever asks need not believe it. */
  onExportRequest(from: PeerId): void {
    const { mayExport, holding, snapshots } = this.#parts;
    if (!mayExport) return this.#refuseExport(from);
    const { stage, step, stateHash: present, proof } = holding;
    if (stage === undefined || holding.isOpening) return;
    const states = present === undefined ? [] : [{ step, stateHash: present, proof: proof ?? null }];
    for (const { step, stateHash, proof } of snapshots.kept) {
      if (stateHash !== present) states.push({ step, stateHash, proof: proof ?? null });
    }
    this.#context.tell({ peer: from, actor: "exporter" }, {
      kind: "exportable",
      stage: stage.index,
      states,
    });
  }

  /** Nobody has asked for a piece for a while. */
  onTimer(): void {
    this.#donation.onTimer();
  }

  #copyFor(asker: PeerId): void {
    const { holding, snapshots, queue } = this.#parts;
    const wanted = this.#askers.get(asker)!;
    this.#askers.delete(asker);
    const { stateHash, purpose } = wanted;
    if (this.#donation.holds(stateHash)) return this.#donation.offer(asker, purpose);
    if (!this.#has(stateHash)) return this.#tellGone(asker, wanted);
    const stage = holding.stage!;
    queue.start(
      { kind: "export", amount: stage.parameters },
      () => holding.stateHash === stateHash ? stage.exportState() : snapshots.load(stage.index, stateHash),
      ({ manifest, bytes }) => {
        this.#donation.keep(manifest, bytes);
        this.#donation.offer(asker, purpose);
      },
      () => this.#tellGone(asker, wanted),
    );
  }

  #has(stateHash: string): boolean {
    const { holding, snapshots } = this.#parts;
    return holding.stateHash === stateHash || snapshots.find(stateHash) !== undefined;
  }

  #tellGone(asker: PeerId, { purpose, stateHash }: MessageOf<"stateRequest">): void {
    this.#context.tell({ peer: asker, actor: askerOf(purpose) }, {
      kind: "stateGone",
      purpose,
      stateHash,
      reason: `this host stands at step ${this.#parts.holding.step}`,
    });
  }

  #refuseExport(asker: PeerId): void {
    const reason = "its owner does not let it be exported";
    this.#context.tell({ peer: asker, actor: "exporter" }, { kind: "exportRefused", reason });
  }
}
