/**
 * Brings the stage of a host to the state at which it should stand: from its own disk, from other hosts,
 * or, before the first step, from the seed. Nobody's word is enough, the coordinator's neither: what no
 * quorum has signed is not even asked for, unless the run's manifest names it. Which state that is, is for
 * others to say; how the pieces of one travel is in `state_transfer.ts`.
 */

import type { Context, PeerId } from "../core/actor.ts";
import { REPLICAS_MAX } from "../limits.ts";
import type { Message, MessageOf } from "../messages.ts";
import { reasonOf } from "../role.ts";
import { type Remains, Transfer } from "../state_transfer.ts";
import { type Announcement, isQuorate, stageService, type StateProof } from "../../routing/mod.ts";
import {
  checkStateManifest,
  type Stage,
  type StageLayout,
  type StateManifest,
  type WholeState,
} from "../../stages/mod.ts";
import type { Holding, Prove } from "./holding.ts";
import type { Snapshots } from "./snapshots.ts";
import type { WorkQueue } from "./work_queue.ts";

/** What restoring is made of. */
export interface RestoringParts {
  readonly holding: Holding;
  readonly queue: WorkQueue;
  readonly snapshots: Snapshots;
  readonly prove: Prove;
  /** What a stage holds, to check the manifests of its states. */
  readonly layout: (index: number) => StageLayout;
  /** Builds a stage in its initial state. */
  readonly openStage: (index: number) => Promise<Stage>;
  /** Hashes that the manifest gives for the states before the first step; without it they follow from the seed. */
  readonly firstStates: readonly string[] | undefined;
}

/** What restoring asks of its host. */
export interface RestoringOwner {
  /** The state that is held is not the one that is wanted. */
  readonly pause: (reason: string) => void;
  /** What a person wants to know; `undefined`: that is over. */
  readonly trouble: (reason: string | undefined) => void;
  /** Another state is held, and nothing was counted in it. */
  readonly restored: () => void;
  /** Wants to hear who offers a service, or not any more. */
  readonly watch: (service: string, wanted: boolean) => void;
}

/** A state that is wanted, and who has signed it; nobody has before the first step. */
interface Wanted {
  readonly step: number;
  readonly stateHash: string;
  readonly proof: StateProof | undefined;
}

/** How one host gets at the state that it should have. */
export class Restoring {
  readonly #context: Context<Message>;
  readonly #parts: RestoringParts;
  readonly #owner: RestoringOwner;
  #transfer: Transfer | undefined;
  /** What the last transfer left, if it was not whole. */
  #remains: Remains | undefined;
  /** Donors that have lied. */
  readonly #liars = new Set<PeerId>();
  /** A state is checked, or imported. */
  #isImporting = false;
  /** The state that the stage begins with, while it is looked for. */
  #sought: { readonly stateHash: string; readonly service: string } | undefined;
  #missed = 0;

  constructor(context: Context<Message>, parts: RestoringParts, owner: RestoringOwner) {
    this.#context = context;
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Whether another state than the present one is on its way. */
  get isUnderWay(): boolean {
    return this.#isImporting || this.#transfer !== undefined;
  }

  /** How often a state came, or did not, since the host was last accepted with one: it may have come too late. */
  get missed(): number {
    return this.#missed;
  }

  /** The host was accepted with the state that it has. */
  accepted(): void {
    this.#missed = 0;
  }

  /** Whether the state is the run's without a coordinator's word: what it begins with, or proved. */
  get isTrusted(): boolean {
    const { holding: { stage, isOpening, stateHash, proof }, firstStates } = this.#parts;
    if (stage === undefined || isOpening || this.isUnderWay) return false;
    if (stage.step > 0) return proof !== undefined && isQuorate(proof);
    const first = firstStates?.[stage.index];
    return first === undefined || first === stateHash;
  }

  /** The stage was opened, in this state: the one that it begins with, or one from the disk. */
  opened({ index, step }: Stage, manifest: StateManifest, proof: StateProof | undefined): void {
    const { holding, firstStates } = this.#parts;
    const first = firstStates?.[index];
    // What the stage holds for want of the files is nobody's state.
    const isNobodys = step === 0 && first !== undefined && manifest.stateHash !== first;
    if (isNobodys) this.#seekFirst(first, stageService(index));
    else holding.stand(manifest, proof);
  }

  // --- the state that a coordinator orders --------------------------------------------------------

  /** Stands at this state as soon as it can; at once if it does already. */
  restore({ step, stateHash, donors, proof }: MessageOf<"restore">): void {
    const { holding, snapshots, queue, prove } = this.#parts;
    const { stage } = holding;
    if (stage === undefined || this.#isImporting) return;
    if (this.#transfer?.stateHash === stateHash) return this.#transfer.addDonors(donors);
    if (holding.stateHash === stateHash && stage.step === step) return;
    if (this.#transfer !== undefined) {
      // The run has gone on: what arrives now would be too late.
      this.#missed++;
      this.suspend();
    }
    this.#owner.pause(`fetching the state of step ${step}`);
    const kept = snapshots.find(stateHash);
    if (step === 0) {
      if (kept !== undefined) {
        const load = () => snapshots.load(stage.index, stateHash);
        return this.#import({ step, stateHash, proof: undefined }, load);
      }
      return this.#sought === undefined
        ? this.#beginAnew(stateHash)
        : this.#fetchFirst(this.#sought.stateHash, donors);
    }
    const proofs = [proof, kept?.proof].filter((it) => it != undefined);
    this.#isImporting = true;
    queue.perform(
      { kind: "prove", amount: 1 },
      () => prove({ stage: stage.index, step, stateHash }, proofs),
      (proof) => {
        this.#isImporting = false;
        if (holding.isOpening) return;
        if (kept === undefined) return this.#fetch({ step, stateHash, proof }, donors);
        this.#import({ step, stateHash, proof }, () => snapshots.load(stage.index, stateHash));
      },
      (error) => {
        this.#isImporting = false;
        this.#owner.trouble(reasonOf(error));
      },
    );
  }

  /** The state before the first step follows from the run's seed, or files: nobody is asked for it. */
  #beginAnew(stateHash: string): void {
    const { holding, openStage } = this.#parts;
    const { index } = holding.stage!;
    this.#import({ step: 0, stateHash, proof: undefined }, async () => {
      const fresh = await openStage(index);
      try {
        return await fresh.exportState();
      } finally {
        await fresh.close();
      }
    });
  }

  // --- the state that the run's manifest names ----------------------------------------------------

  /** The run names the state before the first step, and its files are not here: other hosts have it. */
  #seekFirst(stateHash: string, service: string): void {
    this.#sought = { stateHash, service };
    this.#owner.watch(service, true);
    this.#owner.trouble(
      "the weights that the run begins with are not here: looking for a host that has them",
    );
  }

  /** Hosts of a stage were looked for. */
  foundHosts(service: string, announcements: readonly Announcement[]): void {
    if (this.#sought?.service !== service) return;
    const { stateHash } = this.#sought;
    const donors = announcements.filter((announcement) => announcement.stateHash === stateHash);
    this.#fetchFirst(stateHash, donors.map(({ peer }) => peer));
  }

  /** Nobody has to vouch for it: the run's manifest names its hash. */
  #fetchFirst(stateHash: string, donors: readonly PeerId[]): void {
    if (this.#transfer?.stateHash === stateHash) return this.#transfer.addDonors(donors);
    if (this.isUnderWay || donors.length === 0) return;
    this.#fetch({ step: 0, stateHash, proof: undefined }, donors);
  }

  #endSeeking(): void {
    if (this.#sought === undefined) return;
    const { service } = this.#sought;
    this.#sought = undefined;
    this.#owner.trouble(undefined);
    this.#owner.watch(service, false);
  }

  // --- from others --------------------------------------------------------------------------------

  /** A donor offers. */
  onOffer(from: PeerId, message: MessageOf<"stateOffer">): void {
    this.#transfer?.onOffer(from, message);
  }

  /** A donor has not what was asked for. */
  onGone(from: PeerId, message: MessageOf<"stateGone">): void {
    this.#transfer?.onGone(from, message);
  }

  /** A piece has come. */
  onPiece(from: PeerId, message: MessageOf<"piece">): void {
    this.#transfer?.onPiece(from, message);
  }

  /** The timer of a transfer. */
  onTimer(key: string): void {
    if (key === this.#transfer?.stateHash) this.#transfer.onTimer();
  }

  /** A peer is gone. */
  lost(peer: PeerId, reason: string): void {
    this.#transfer?.drop(peer, reason);
  }

  /** Nothing more is fetched for now; what has arrived may be of use. */
  suspend(): void {
    this.#endTransfer(this.#transfer?.remains ?? this.#remains);
  }

  /** Nothing more is fetched, and what has arrived is of no use. */
  cancel(): void {
    this.#endTransfer(undefined);
  }

  /** The stage is left. */
  leave(): void {
    this.#endSeeking();
    this.#missed = 0;
  }

  #fetch(wanted: Wanted, donors: readonly PeerId[]): void {
    const { holding, layout } = this.#parts;
    const { index } = holding.stage!;
    if (this.#liars.size > REPLICAS_MAX) this.#liars.clear();
    this.#transfer = new Transfer({
      context: this.#context,
      stateHash: wanted.stateHash,
      donors,
      remains: this.#remains,
      liars: this.#liars,
      check: (manifest) => checkStateManifest(layout(index), manifest),
      described: (manifest) => this.#lookOnDisk(manifest),
      whole: (manifest, bytes) => {
        this.cancel();
        this.#import(wanted, () => Promise.resolve({ manifest, bytes }));
      },
      failed: (reason) => {
        this.#missed++;
        this.suspend();
        this.#owner.trouble(reason);
      },
    });
    this.#remains = undefined;
    this.#transfer.start();
  }

  /** A snapshot that is damaged, or of another step, may still hold pieces of this state. */
  #lookOnDisk({ stateHash, pieces }: Omit<StateManifest, "step">): void {
    this.#parts.snapshots.salvage(
      pieces,
      (found) => {
        if (this.#transfer?.stateHash === stateHash) this.#transfer.reuse(found);
      },
      // Donors have them all.
      (error) => this.#context.trace("trouble", { reason: reasonOf(error) }),
    );
  }

  #endTransfer(remains: Remains | undefined): void {
    this.#transfer?.cancel();
    this.#transfer = undefined;
    this.#remains = remains;
  }

  // --- into the stage -----------------------------------------------------------------------------

  #import({ step, stateHash, proof }: Wanted, load: () => Promise<WholeState>): void {
    const { holding, snapshots, queue } = this.#parts;
    const stage = holding.stage!;
    this.#isImporting = true;
    queue.perform(
      { kind: "import", amount: stage.parameters },
      async () => {
        const { manifest, bytes } = await load();
        if (manifest.stateHash !== stateHash || manifest.step !== step) {
          throw new Error(
            `Cannot import state ${stateHash.slice(0, 12)} of step ${step}: ` +
              `it is ${manifest.stateHash.slice(0, 12)} of step ${manifest.step}`,
          );
        }
        await stage.importState(manifest, bytes);
        return manifest;
      },
      (manifest) => {
        this.#isImporting = false;
        const wasSought = this.#sought?.stateHash === stateHash;
        this.#endSeeking();
        holding.stand(manifest, proof);
        snapshots.dropUnsaved();
        if (wasSought) snapshots.copyFirst();
        this.#missed++;
        this.#owner.restored();
      },
      (error) => {
        this.#isImporting = false;
        // If it was on the disk it is not to be had from there: the next time donors are asked.
        snapshots.forget(stateHash);
        this.#owner.trouble(reasonOf(error));
      },
    );
  }
}
