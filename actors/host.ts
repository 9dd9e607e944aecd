/**
 * Serves one stage: takes walks in, computes them one at a time, passes
 * activations on to a host of the next stage and gradients back to where they
 * came from, and does what the coordinator says at the end of a step. It counts
 * each micro-batch at most once a step, and says so to the coordinator alone. It
 * decides neither what a step is nor who else takes part. What readers ask for
 * (`serving.ts`) is computed first; training has the rest.
 */

import type { Pledge } from "./allegiance.ts";
import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { Dispatch, DISPATCH_TIMER } from "./dispatch.ts";
import { Following, HELLO_TIMER, type PledgeStore } from "./host/following.ts";
import { Giving } from "./host/giving.ts";
import { Holding, type Prove } from "./host/holding.ts";
import { Restoring } from "./host/restoring.ts";
import { Snapshots, type SnapshotStore } from "./host/snapshots.ts";
import { StepDuty } from "./host/step_duty.ts";
import { type Loss, Tally } from "./host/tally.ts";
import { WORK_TIMER, WorkQueue } from "./host/work_queue.ts";
import {
  HELD_WALKS_MAX,
  HELLO_PERIOD_MS,
  LEASE_MS,
  LEAVE_MS_MAX,
  LOAD_SECONDS_MAX,
  OFFER_MS_MAX,
  REFUSED_RETRY_MS,
  SECONDS_PER_MICRO_BATCH_MAX,
  VOUCHER_BYTES_MAX,
} from "./limits.ts";
import { type Message, type MessageOf, type Tensor, type Walk, walkKey } from "./messages.ts";
import { behaviour, reasonOf, type Role } from "./role.ts";
import { Serving, SERVING_TIMER } from "./serving.ts";
import type { TextBounds } from "./session_checks.ts";
import { Standalone } from "./standalone.ts";
import { DONATION_TIMER, TRANSFER_TIMER } from "./state_transfer.ts";
import { type Half, Workload } from "./workload.ts";
import { isQuorate, proveState, type Signer, stageService, type Verify } from "../routing/mod.ts";
import { DeviceLost, type ForwardResult, type Stage, type StageLayout } from "../stages/mod.ts";

/** Takes money for tokens. */
export interface Tolls {
  /** A home sends a voucher. */
  accept(from: PeerId, voucher: Uint8Array): void;
  /** Why so many tokens are not computed for a home; `undefined` if they are, and then they are owed. */
  charge(home: PeerId, tokens: number): string | undefined;
}

/** What a host is made of. */
export interface HostOptions {
  /** Builds a stage in its initial state. */
  readonly openStage: (index: number) => Promise<Stage>;
  /** What a stage holds, to check the manifests of its states. */
  readonly layout: (index: number) => StageLayout;
  /** The stage that the owner asks for; without it the neediest. */
  readonly stage?: number;
  /** What the run's manifest says of texts, and the number of its stages. */
  readonly bounds: TextBounds;
  /** Hashes that the manifest gives for the states before the first step; without it they follow from the seed. */
  readonly firstStates?: readonly string[];
  /** Hash of the run's manifest, hex. */
  readonly run: string;
  /** Signs the states that this host computes. */
  readonly signer: Signer;
  /** Checks those of others. */
  readonly verify: Verify;
  /** Tokens of one micro-batch, for the router's expectations. */
  readonly tokensPerMicroBatch: number;
  readonly snapshots?: SnapshotStore;
  readonly pledges?: PledgeStore;
  /** Steps between two snapshots. */
  readonly snapshotEverySteps: number;
  /** Whether the state is given to those who say that they take it out of the run. Default: it is. */
  readonly mayExport?: boolean;
  /** Digest of what passes, SHA-256 in hex, where account is kept of work; without it nobody is told of any. */
  readonly rootOf?: (tensor: Tensor) => string;
  /** Who has paid for what; without it texts are continued for nothing. */
  readonly tolls?: Tolls;
  /** Told what a person wants to know: stage, state and count of work. */
  readonly onChange?: (status: HostStatus) => void;
  /** Told once, when this host was told to leave and is not needed any more. */
  readonly onLeft?: (departure: Departure) => void;
}

/** What a host leaves behind. */
export interface Departure {
  /** The stage that it held, if any. */
  readonly stage: number | undefined;
  /** Steps that its state has taken. */
  readonly step: number;
  /** Other hosts that hold the state and go on; `undefined` if nobody could say so. */
  readonly replicas: number | undefined;
  /** Whether the state is on its own disk. */
  readonly saved: boolean;
}

/** What a host's owner sees. */
export interface HostStatus {
  /** The stage that it holds, once it has one. */
  readonly stage: number | undefined;
  /** Optimizer steps that its state has taken. */
  readonly step: number;
  /** Whether it takes in walks. */
  readonly serving: boolean;
  /** Whether it takes in texts to continue, and how many it keeps. */
  readonly servesSessions: boolean;
  /** Texts of which it keeps something. */
  readonly sessions: number;
  /** Whether it was told to leave. */
  readonly leaving: boolean;
  /** Whose orders it follows, while one is known. */
  readonly coordinator: PeerId | undefined;
  /** Micro-batches accumulated since the start. */
  readonly accumulated: number;
  /** Why the host does not serve, or why its last work failed. */
  readonly trouble: string | undefined;
}

/** A walk that this host has taken in. */
interface Held {
  readonly key: string;
  readonly walk: Walk;
  readonly counts: boolean;
  readonly previous: PeerId;
  readonly forward: MessageOf<"forward">;
  /** The way back has begun: a second gradient is a duplicate. */
  returning: boolean;
  /** Who gave the gradient back. */
  next: PeerId | null;
  /** Digest of what went out, if account is kept. */
  outRoot: string | null;
  loss: Loss | undefined;
}

const LEAVE_TIMER = "leave";
/** What outlives a restart of the host's actor. */
interface Memory {
  pledge: Pledge | undefined;
  leaving: boolean;
}

type Order =
  | "placed"
  | "restore"
  | "accepted"
  | "prepare"
  | "fence"
  | "leftOut"
  | "reduce"
  | "apply"
  | "certified"
  | "relieved";

class Host implements Role {
  readonly #context: Context<Message>;
  readonly #options: HostOptions;
  readonly #incarnation: number;
  readonly #queue: WorkQueue;
  #computedMs = -Infinity;
  #dispatch: Dispatch;
  readonly #holding = new Holding();
  readonly #snapshots: Snapshots;
  readonly #giving: Giving;
  readonly #restoring: Restoring;
  readonly #held = new Map<string, Held>();
  #workload = new Workload();
  readonly #sessions: Serving;
  readonly #standalone: Standalone;
  /** Serves sessions though nobody leads it. */
  #isAlone = false;
  #isOfferedAlone = false;
  /** No coordinator has given it its stage. */
  #choseItself = false;
  /** Who wants to hear of a service: more than one part of this host may. */
  readonly #watched = new Map<string, Set<"next" | "look" | "first">>();

  #serving = false;
  readonly #memory: Memory;
  readonly #following: Following;
  #leaveTimer: Timer | undefined;
  #leavingSinceMs = Infinity;
  /** Others take the walks that this host would be sent. */
  #isReplaced = false;
  #departed = false;
  #totalAccumulated = 0;
  #trouble: string | undefined;

  readonly #tally = new Tally();
  readonly #stepDuty: StepDuty;
  constructor(context: Context<Message>, options: HostOptions, memory: Memory) {
    this.#context = context;
    this.#options = options;
    this.#memory = memory;
    this.#incarnation = context.entropy.integer(2 ** 31);
    this.#queue = new WorkQueue(context, {
      inFlightMax: () => this.#holding.stage?.inFlightMax ?? 1,
      readersWait: () => this.#sessions.waits,
      runReaders: () => this.#sessions.run(),
      failed: (error) => this.#onFailure(error),
    });
    this.#dispatch = this.#newDispatch();
    const { layout, openStage, run, signer, verify, mayExport = true } = options;
    const holding = this.#holding;
    const queue = this.#queue;
    this.#following = new Following(context, { queue, store: options.pledges, memory }, {
      greet: () => this.#sayHello(),
      heard: () => {
        this.#standalone.heard();
        this.#standAlone();
      },
      promised: () => this.#onPromised(),
      trouble: (reason) => this.#setTrouble(reason),
    });
    const prove: Prove = (claim, proofs) => proveState({ run, ...claim }, proofs, verify);
    const snapshots = this.#snapshots = new Snapshots({
      holding,
      queue,
      store: options.snapshots,
      everySteps: options.snapshotEverySteps,
      prove,
      trouble: (reason) => this.#setTrouble(reason),
    });
    this.#giving = new Giving(context, { holding, queue, snapshots, mayExport });
    this.#restoring = new Restoring(context, { holding, queue, snapshots, prove, layout, openStage }, {
      pause: (reason) => this.#pause(reason),
      trouble: (reason) => this.#setTrouble(reason),
      restored: () => {
        this.#stepDuty.reset();
        this.#sayHello();
      },
      watch: (service, wanted) => this.#watch(service, "first", wanted),
    });
    this.#stepDuty = new StepDuty(context, {
      holding,
      queue,
      tally: this.#tally,
      snapshots,
      following: this.#following,
      prove,
      run,
      signer,
      accounts: options.rootOf !== undefined,
    }, {
      pause: (reason) => this.#pause(reason),
      trouble: (reason) => this.#setTrouble(reason),
      applied: () => this.#onApplied(),
      isLeaving: () => memory.leaving,
    });
    this.#sessions = new Serving(context, {
      bounds: options.bounds,
      refuses: () => this.#refusesSessions(),
      charge: (home, tokens) => options.tolls?.charge(home, tokens),
      wake: () => this.#queue.advance(),
      start: (tokens, run, done, failed) =>
        this.#queue.start({ kind: "extend", amount: tokens }, run, done, failed),
    });
    this.#standalone = new Standalone(context, {
      stages: options.bounds.stages,
      stage: () => this.#holding.stage?.index,
      movable: this.#movable,
      watch: (service, wanted) => this.#watch(service, "look", wanted),
      take: (index) => this.#settleIn(index),
    });
    this.#following.start();
    if (memory.leaving) this.#awaitRelief();
    if (options.stage !== undefined) this.#open(options.stage);
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "performed":
        return this.#queue.onPerformed(message);
      case "forward":
        return this.#onForward(from, message);
      case "backward":
        return this.#onBackward(from, message);
      case "admitted":
        return this.#dispatch.admitted(from, message);
      case "refused":
        return this.#dispatch.refused(from, message);
      case "processed":
        return this.#onProcessed(from, message);
      case "abandoned":
        return this.#onAbandoned(from, message);
      case "givenUp":
        return this.#onGivenUp(from, message);
      case "extend":
        return this.#sessions.extend(from, message);
      case "endSessions":
        return this.#sessions.end(from, message);
      case "probe":
        return this.#sessions.probe(from, message);
      case "found":
        return this.#onFound(message);
      case "voucher":
        if (message.bytes.byteLength <= VOUCHER_BYTES_MAX) this.#options.tolls?.accept(from, message.bytes);
        this.#context.tell({ peer: from, actor: "reader" }, { kind: "voucherTaken" });
        return;
      case "peerLost":
        return this.#onPeerLost(message);
      case "timer":
        return this.#onTimer(message);
      case "averaged":
        return this.#stepDuty.onAveraged(message);
      case "averageFailed":
        return this.#stepDuty.onAverageFailed(message);
      case "stateRequest":
        return this.#giving.onStateRequest(from, message);
      case "exportRequest":
        return this.#giving.onExportRequest(from);
      case "pieceRequest":
        return this.#giving.onPieceRequest(from, message);
      case "stateOffer":
        return this.#restoring.onOffer(from, message);
      case "stateGone":
        return this.#restoring.onGone(from, message);
      case "piece":
        return this.#restoring.onPiece(from, message);
      case "lead":
        return this.#following.onLead(from, message);
      case "released":
        return this.#following.release(from);
      case "placed":
      case "restore":
      case "accepted":
      case "prepare":
      case "fence":
      case "leftOut":
      case "reduce":
      case "apply":
      case "certified":
      case "relieved":
        return this.#onOrder(from, message);
      case "leave":
        return this.#onLeave();
    }
  }

  stop(): void {
    this.#restoring.cancel();
    this.#following.stop();
    this.#leaveTimer?.cancel();
    this.abandon();
  }

  /** Its successor opens a stage of its own, and there may be no memory for two. */
  abandon(): void {
    this.#sessions.close("this host has stopped");
    this.#holding.stage?.close().catch((error) => {
      this.#context.trace("trouble", { reason: reasonOf(error) });
    });
  }

  /** Has the stage compute one half of a walk's work. */
  #compute<Value>(
    half: Half,
    held: Held,
    run: () => Promise<Value>,
    done: (value: Value) => void,
    failed: (error: unknown) => void,
  ): void {
    const startedMs = this.#context.clock.nowMs();
    this.#queue.startPass(
      held,
      { kind: half, amount: this.#options.tokensPerMicroBatch },
      run,
      (value) => {
        // Of what was computed side by side each has taken the time since the one before it was done.
        const nowMs = this.#context.clock.nowMs();
        this.#workload.took(half, (nowMs - Math.max(startedMs, this.#computedMs)) / 1000);
        this.#computedMs = nowMs;
        done(value);
      },
      failed,
    );
  }

  /**
   * A stage whose device is gone is gone with all that was counted in it. Whoever waits for this host is
   * told, and it begins anew, as one that has just come; whether there is a device left to do so is for
   * `openStage` to say.
   */
  #onFailure(error: unknown): void {
    if (!(error instanceof DeviceLost)) return;
    this.#pause(error.message);
    for (const held of [...this.#held.values()]) this.#break(held, error.message);
    throw error;
  }

  // --- the stage and its state --------------------------------------------------------------------

  #open(index: number): void {
    if (this.#holding.isOpening || index >= this.#options.bounds.stages) return;
    this.#holding.open();
    this.#queue.alone(() => {
      const before = this.#holding.stage;
      if (before !== undefined) this.#leave(before);
      this.#queue.start(
        { kind: "open", amount: 1 },
        async () => {
          await before?.close();
          const stage = await this.#options.openStage(index);
          const snapshots = await this.#snapshots.list(index);
          if (snapshots.length > 0) {
            const { manifest, bytes } = await this.#snapshots.load(index, snapshots[0].stateHash);
            await stage.importState(manifest, bytes);
          }
          return { stage, snapshots, manifest: await stage.describeState() };
        },
        ({ stage, snapshots, manifest }) => {
          this.#holding.hold(stage);
          this.#snapshots.open(snapshots);
          const first = this.#options.firstStates?.[index];
          // What the stage holds for want of the files is nobody's state.
          if (stage.step === 0 && first !== undefined && manifest.stateHash !== first) {
            this.#restoring.seekFirst(first);
          } else this.#holding.stand(manifest, snapshots[0]?.proof);
          this.#sessions.open(stage);
          this.#context.trace("stage opened", {
            stage: index,
            step: stage.step,
            parameters: stage.parameters,
          });
          this.#watchNextOf(index, true);
          this.#sayHello();
        },
        // Without its stage a host is of no use: the supervisor decides whether to try again.
        (error) => {
          throw error;
        },
      );
    });
  }

  /** To another stage. What is under way here is broken off; work that was begun ends before the stage is left. */
  #moveTo(index: number): void {
    const reason = `this host moves to stage ${index}`;
    this.#pause(reason);
    for (const held of [...this.#held.values()]) this.#break(held, reason);
    this.#restoring.cancel();
    this.#open(index);
  }

  /** Nothing that was known of this stage holds for another. */
  #leave({ index }: Stage): void {
    this.#sessions.close(`this host leaves stage ${index}`);
    this.#watchNextOf(index, false);
    this.#dispatch = this.#newDispatch();
    this.#workload = new Workload();
    this.#restoring.leave();
    this.#snapshots.leave();
    this.#holding.leave();
    this.#stepDuty.reset();
  }

  #watchNextOf(index: number, wanted: boolean): void {
    if (index + 1 < this.#options.bounds.stages) this.#watch(stageService(index + 1), "next", wanted);
  }

  #watch(service: string, purpose: "next" | "look" | "first", wanted: boolean): void {
    const { actor } = this.#context;
    const purposes = this.#watched.get(service) ?? new Set();
    this.#watched.set(service, purposes);
    if (wanted) purposes.add(purpose);
    else purposes.delete(purpose);
    // The scout looks at once when it is asked anew.
    if (wanted) this.#context.tell({ actor: "scout" }, { kind: "watch", service, subscriber: actor });
    if (purposes.size > 0) return;
    this.#watched.delete(service);
    this.#context.tell({ actor: "scout" }, { kind: "unwatch", service, subscriber: actor });
  }

  #newDispatch(): Dispatch {
    return new Dispatch(this.#context, {
      broken: (walk, reason) => {
        const held = this.#held.get(walkKey(walk));
        if (held !== undefined && !held.returning) this.#break(held, reason);
      },
      offerMsMax: OFFER_MS_MAX,
      ownSeconds: () => this.#workload.secondsOf(1, 0),
    });
  }

  // --- the coordinator ----------------------------------------------------------------------------

  #onFound({ service, announcements }: MessageOf<"found">): void {
    if (service !== "coordinator") {
      this.#standalone.foundHosts(service, announcements);
      this.#restoring.foundHosts(service, announcements);
      // What comes late of the stage after one that this host has left is of no use.
      const isNext = this.#holding.stage !== undefined &&
        service === stageService(this.#holding.stage.index + 1);
      return isNext ? this.#dispatch.found(announcements) : undefined;
    }
    this.#standalone.foundTrainers(announcements.length);
    this.#following.foundTrainers(announcements);
  }

  #sayHello(): void {
    this.#following.rest();
    this.#standAlone();
    if (this.#servesSessions || this.#serving) this.#announce();
    this.#changed();
    if (this.#holding.isOpening) return;
    this.#following.hello({
      // Who has chosen its stage itself comes as one that has none.
      ...(this.#choseItself
        ? { stage: null, prefers: this.#holding.stage?.index, step: 0, stateHash: null }
        : {
          stage: this.#holding.stage?.index ?? null,
          step: this.#holding.step,
          stateHash: this.#holding.stateHash ?? null,
        }),
      snapshots: this.#snapshots.kept.map(({ step, stateHash }) => ({ step, stateHash })),
      incarnation: this.#incarnation,
      secondsPerMicroBatch: this.#secondsPerMicroBatch(),
      movable: this.#movable,
      missed: this.#restoring.missed,
      leaving: this.#memory.leaving,
      report: this.#serving ? null : this.#stepDuty.report,
    }, { isServing: this.#serving });
    this.#departIfIdle();
  }

  get #movable(): boolean {
    return this.#options.stage === undefined;
  }

  #secondsPerMicroBatch(): number | null {
    const seconds = this.#workload.secondsPerMicroBatch;
    return seconds === undefined ? null : Math.min(seconds, SECONDS_PER_MICRO_BATCH_MAX);
  }

  // --- serving without a coordinator --------------------------------------------------------------

  /** Nobody knows of a coordinator: readers are served all the same, by a state that is what the run says. */
  #standAlone(): void {
    if (!this.#holding.isOpening) this.#standalone.tick();
    const isAlone = this.#standalone.isAlone && this.#isTrusted();
    if (this.#isOfferedAlone && !isAlone && !this.#serving && !this.#holding.isOpening) this.#withdraw();
    this.#isAlone = isAlone;
  }

  /** Whether the state is the run's without a coordinator's word: what it begins with, or proved. */
  #isTrusted(): boolean {
    const stage = this.#holding.stage;
    if (stage === undefined || this.#holding.isOpening || this.#restoring.isUnderWay) {
      return false;
    }
    if (stage.step > 0) return this.#holding.proof !== undefined && isQuorate(this.#holding.proof);
    const first = this.#options.firstStates?.[stage.index];
    return first === undefined || first === this.#holding.stateHash;
  }

  /** Why no session is taken in; `undefined` if one is. */
  #refusesSessions(): string | undefined {
    if (this.#memory.leaving || this.#departed) return "this host leaves";
    return this.#serving || this.#isAlone ? undefined : "this host does not serve yet";
  }

  get #servesSessions(): boolean {
    return this.#holding.stage?.sessions !== undefined && this.#refusesSessions() === undefined;
  }

  /** Takes a stage without a coordinator, and says so before it is there, so that other newcomers take another. */
  #settleIn(index: number): void {
    this.#context.trace("stage chosen", { stage: index });
    this.#choseItself = true;
    if (this.#holding.stage === undefined) this.#open(index);
    else this.#moveTo(index);
    this.#isOfferedAlone = true;
    this.#context.tell({ actor: "scout" }, {
      kind: "announce",
      service: stageService(index),
      step: 0,
      stateHash: null,
      load: 0,
      trains: false,
      sessionRoom: 0,
    });
  }

  /** What was begun under another term counts no more; what has been counted is reported. */
  #onPromised(): void {
    this.#serving = false;
    this.#stepDuty.unseal();
    this.#restoring.suspend();
    for (const held of [...this.#held.values()]) if (held.walk.purpose === "train") this.#letGo(held);
  }

  #onOrder(from: PeerId, message: MessageOf<Order>): void {
    const { leader } = this.#following;
    const stage = this.#holding.stage;
    // A host without a stage has nothing to protect, nor has one that chose it itself.
    if (message.kind === "placed" && (stage === undefined || this.#choseItself)) {
      return (leader ?? from) === from ? this.#placeAt(message.stage) : undefined;
    }
    if (!this.#following.obeys(from, message.term)) {
      this.#context.trace("order ignored", { from, order: message.kind, term: message.term });
      return;
    }
    // It may be on its way to another stage.
    if (stage === undefined || this.#holding.isOpening) return;
    if (message.kind === "placed") {
      const may = this.#movable && message.stage !== stage.index && !this.#stepDuty.isApplying;
      return may ? this.#moveTo(message.stage) : undefined;
    }
    if (message.kind === "relieved") return this.#onRelieved(message);
    if (message.kind === "restore") {
      return message.stage === stage.index ? this.#restoring.restore(message) : undefined;
    }
    if (message.step !== stage.step) {
      this.#context.trace("order ignored", { order: message.kind, step: message.step, standsAt: stage.step });
      return;
    }
    // Who holds the total of an all-reduce may apply it under any coordinator that says so.
    if (
      message.kind !== "accepted" && message.kind !== "apply" && message.kind !== "certified" &&
      !this.#serving
    ) {
      // Meant for this host as it was before it started again.
      this.#context.trace("order ignored", { order: message.kind, reason: "not serving" });
      return;
    }
    switch (message.kind) {
      case "accepted":
        return message.keep
          ? this.#serve(message.round)
          : this.#stepDuty.forget(() => this.#serve(message.round));
      case "leftOut":
        this.#pause(message.reason);
        return this.#stepDuty.forget();
      case "prepare":
      case "fence":
      case "reduce":
      case "apply":
      case "certified":
        return this.#stepDuty.onOrder(message);
    }
  }

  #placeAt(index: number): void {
    if (this.#holding.isOpening) return;
    this.#choseItself = false;
    if (this.#holding.stage === undefined) this.#open(index);
    else if (this.#holding.stage.index === index) this.#sayHello();
    else this.#moveTo(index);
  }

  // --- leaving ------------------------------------------------------------------------------------

  /** What this host has counted is needed until the step is over; then it goes. */
  #onLeave(): void {
    if (this.#memory.leaving) return;
    this.#memory.leaving = true;
    this.#awaitRelief();
    this.#sayHello();
  }

  #awaitRelief(): void {
    this.#leavingSinceMs = this.#context.clock.nowMs();
    this.#leaveTimer = this.#context.after(LEAVE_MS_MAX, { kind: "timer", name: LEAVE_TIMER, key: "" });
  }

  #departIfIdle(): void {
    if (!this.#memory.leaving) return;
    const isNeeded = this.#serving || this.#stepDuty.isApplying || this.#tally.size > 0;
    // Another coordinator would have asked for what this host holds by then.
    const waitedMs = this.#context.clock.nowMs() - this.#leavingSinceMs;
    const isForgotten = this.#following.leader === undefined && waitedMs > 2 * LEASE_MS;
    if (!isNeeded || isForgotten) this.#depart(undefined);
  }

  #onRelieved({ replicas, now }: MessageOf<"relieved">): void {
    if (!this.#memory.leaving) return;
    if (now) return this.#depart(replicas);
    this.#isReplaced = replicas > 0;
    if (this.#isReplaced) this.#withdraw();
  }

  #depart(replicas: number | undefined): void {
    if (this.#departed) return;
    this.#departed = true;
    this.#leaveTimer?.cancel();
    for (const held of [...this.#held.values()]) this.#break(held, "this host leaves");
    this.#pause("leaving");
    this.#snapshots.copyUnlessKept();
    this.#queue.whenIdle(() => {
      this.#options.onLeft?.({
        stage: this.#holding.stage?.index,
        step: this.#holding.step,
        replicas,
        saved: this.#snapshots.holdPresent,
      });
    });
  }

  #serve(round: number): void {
    this.#tally.seal(round - 1);
    // Others that stood alone until now begin to train as well.
    if (!this.#serving) this.#watchNextOf(this.#holding.stage!.index, true);
    this.#serving = true;
    this.#restoring.accepted();
    this.#trouble = undefined;
    this.#announce();
    this.#changed();
  }

  /** The stage has taken a step. What was begun before it counts for nothing any more. */
  #onApplied(): void {
    this.#letGoBefore(this.#holding.step);
    if (!this.#serving) this.#sayHello();
    this.#announce();
    this.#changed();
  }

  #announce(): void {
    if (this.#isReplaced || this.#departed) return;
    const stage = this.#holding.stage!;
    this.#isOfferedAlone = !this.#serving;
    this.#context.tell({ actor: "scout" }, {
      kind: "announce",
      service: stageService(stage.index),
      step: stage.step,
      stateHash: this.#holding.stateHash ?? null,
      load: Math.min(
        LOAD_SECONDS_MAX,
        this.#workload.secondsOf(this.#queue.waiting("forward"), this.#queue.waiting("backward")),
      ),
      trains: this.#serving,
      sessionRoom: this.#sessions.roomTokens,
    });
  }

  #withdraw(): void {
    this.#isOfferedAlone = false;
    this.#context.tell({ actor: "scout" }, { kind: "withdraw" });
  }

  /** Serves no more until the coordinator says so again. */
  #pause(reason: string): void {
    this.#serving = this.#isAlone = false;
    this.#sessions.loseAll(reason);
    this.#withdraw();
    this.#setTrouble(reason);
  }

  #setTrouble(reason: string | undefined): void {
    this.#trouble = reason;
    if (reason === undefined) return;
    this.#context.trace("trouble", { reason });
    this.#changed();
  }

  #changed(): void {
    this.#options.onChange?.({
      stage: this.#holding.stage?.index,
      step: this.#holding.step,
      serving: this.#serving,
      servesSessions: this.#servesSessions,
      sessions: this.#sessions.count,
      leaving: this.#memory.leaving,
      coordinator: this.#following.leader,
      accumulated: this.#totalAccumulated,
      trouble: this.#trouble,
    });
  }

  // --- the walk: forward --------------------------------------------------------------------------

  #onForward(from: PeerId, message: MessageOf<"forward">): void {
    const { walk, stage: wanted } = message;
    const previous = { peer: from, actor: previousRole(wanted) };
    const refuse = (reason: string, retryAfterMs: number) => {
      this.#context.tell(previous, { kind: "refused", walk, stage: wanted, retryAfterMs, reason });
    };
    const stage = this.#holding.stage;
    if (stage === undefined || !this.#serving) return refuse("this host does not serve yet", HELLO_PERIOD_MS);
    if (wanted !== stage.index) return refuse(`this host serves stage ${stage.index}`, 60_000);
    if (walk.step !== stage.step) {
      return refuse(`this host stands at step ${stage.step}`, REFUSED_RETRY_MS);
    }
    const { leader, term } = this.#following.pledge;
    if (walk.purpose === "train" && (message.coordinator !== leader || walk.term !== term)) {
      return refuse("this host follows another coordinator", HELLO_PERIOD_MS);
    }
    if (walk.purpose === "train" && this.#isReplaced) return refuse("this host leaves", 60_000);
    const key = walkKey(walk);
    if (this.#held.has(key)) {
      this.#context.trace("duplicate walk", { from, walk: key });
      return;
    }
    if (this.#held.size >= HELD_WALKS_MAX) {
      return refuse(`it holds ${this.#held.size} of ${HELD_WALKS_MAX} micro-batches`, REFUSED_RETRY_MS);
    }
    this.#context.tell(previous, { kind: "admitted", walk, stage: stage.index });
    const held: Held = {
      key,
      walk,
      counts: walk.purpose === "train" && message.corpus !== null && message.mask.includes(stage.index),
      previous: from,
      forward: message,
      returning: false,
      next: null,
      outRoot: null,
      loss: undefined,
    };
    this.#held.set(key, held);
    this.#queue.awaitTurn("forward", held, () => this.#computeForward(held));
  }

  #computeForward(held: Held): void {
    if (this.#held.get(held.key) !== held) return;
    const stage = this.#holding.stage!;
    const { input, targets } = held.forward;
    const last = stage.index + 1 === stage.count;
    this.#compute(
      "forward",
      held,
      () =>
        stage.forward(held.key, input, last ? targets : undefined, { keep: held.walk.purpose === "train" }),
      (result) => {
        if (this.#held.get(held.key) !== held) return stage.release(held.key);
        this.#context.tell({ peer: held.previous, actor: previousRole(stage.index) }, {
          kind: "processed",
          walk: held.walk,
          stage: stage.index,
        });
        this.#afterForward(held, result);
      },
      (error) => this.#break(held, reasonOf(error)),
    );
  }

  #afterForward(held: Held, result: ForwardResult): void {
    const { walk, forward } = held;
    switch (result.kind) {
      case "activation":
        held.outRoot = this.#options.rootOf?.(result.activation) ?? null;
        return this.#dispatch.offer(
          { ...forward, stage: forward.stage + 1, input: result.activation },
          this.#options.tokensPerMicroBatch,
        );
      case "logits":
        return this.#break(held, "the targets are missing");
      case "loss":
        if (walk.purpose !== "train") {
          const { lossSum, tokens } = result;
          this.#context.tell({ peer: forward.trainer, actor: "trainer" }, {
            kind: "evaluated",
            walk,
            lossSum,
            tokens,
          });
          return this.#letGo(held);
        }
        held.loss = { sum: result.lossSum, tokens: result.tokens };
        held.returning = true;
        return this.#queue.awaitTurn("backward", held, () => this.#computeBackward(held, undefined));
    }
  }

  #onProcessed(from: PeerId, message: MessageOf<"processed">): void {
    if (!this.#dispatch.processed(from, message)) return;
    const held = this.#held.get(walkKey(message.walk));
    // Nothing comes back of a walk that is not trained on.
    if (held !== undefined && held.walk.purpose !== "train") this.#letGo(held);
  }

  // --- the walk: backward -------------------------------------------------------------------------

  #onBackward(from: PeerId, { walk, gradient }: MessageOf<"backward">): void {
    const held = this.#held.get(walkKey(walk));
    if (held === undefined || held.returning || !this.#dispatch.returned(from, walk)) {
      this.#context.trace("gradient ignored", { from, walk: walkKey(walk) });
      return;
    }
    held.returning = true;
    held.next = from;
    this.#queue.awaitTurn("backward", held, () => this.#computeBackward(held, gradient));
  }

  #computeBackward(held: Held, gradient: Tensor | undefined): void {
    if (this.#held.get(held.key) !== held) return;
    const stage = this.#holding.stage!;
    const { walk } = held;
    const { term } = this.#following.pledge;
    const accumulate = held.counts && walk.term === term && walk.step === stage.step &&
      this.#tally.isOpenFor(walk);
    this.#compute(
      "backward",
      held,
      () => stage.backward(held.key, gradient, { accumulate }),
      (back) => {
        if (accumulate) {
          this.#tally.count(walk.microBatch, { corpus: held.forward.corpus!, loss: held.loss });
          this.#totalAccumulated++;
          this.#changed();
        }
        this.#noteWork(held, accumulate);
        this.#reportAccumulated(held);
        this.#passBack(held, back);
        this.#letGo(held);
      },
      (error) => {
        // What is refused (`TypeError`) has changed nothing. Anything else may have left half of it in the sum.
        if (accumulate && !(error instanceof TypeError)) {
          this.#tally.spoil();
          this.#stepDuty.forget();
        }
        this.#break(held, reasonOf(error));
      },
    );
  }

  /** For whoever keeps account. */
  #noteWork({ walk, forward, previous, next, outRoot }: Held, counted: boolean): void {
    const { rootOf } = this.#options;
    if (rootOf === undefined) return;
    const { stage, input } = forward;
    const roots = { inRoot: rootOf(input), outRoot };
    this.#context.tell({ actor: "settler" }, {
      kind: "worked",
      walk,
      stage,
      previous,
      next,
      ...roots,
      counted,
    });
  }

  #reportAccumulated({ walk, forward, counts, loss }: Held): void {
    const corpus = this.#tally.corpusOf(walk.microBatch);
    // Of other data the same number is another micro-batch.
    if (!counts || corpus === undefined || corpus !== forward.corpus) return;
    // Whoever coordinates under another term has heard of it in a report, or will.
    if (walk.term !== this.#following.pledge.term) return;
    this.#following.tellLeader({
      kind: "accumulated",
      walk,
      stage: forward.stage,
      corpus,
      ...(loss === undefined ? {} : { lossSum: loss.sum, tokens: loss.tokens }),
    });
  }

  #passBack({ walk, forward, previous }: Held, gradient: Tensor | undefined): void {
    const trainer = { peer: forward.trainer, actor: "trainer" };
    if (gradient === undefined) {
      this.#context.tell(trainer, { kind: "finished", walk });
      return;
    }
    const sent = this.#context.tell({ peer: previous, actor: "host" }, {
      kind: "backward",
      walk,
      stage: forward.stage - 1,
      gradient,
    });
    if (!sent) {
      const reason = `the way back through ${previous} is broken`;
      this.#context.tell(trainer, { kind: "failed", walk, stage: forward.stage, reason });
    }
  }

  // --- the walk: what breaks ----------------------------------------------------------------------

  /** The walk can't go on here: its issuer and the hop before are told. */
  #break(held: Held, reason: string): void {
    const { walk, forward } = held;
    const issuer = { peer: forward.trainer, actor: "trainer" };
    this.#context.trace("walk broken", { walk: held.key, reason });
    this.#context.tell(issuer, { kind: "failed", walk, stage: forward.stage, reason });
    this.#abandon(held, reason);
  }

  #abandon(held: Held, reason: string): void {
    const { walk, forward, previous } = held;
    this.#letGo(held);
    this.#context.tell({ peer: previous, actor: previousRole(forward.stage) }, {
      kind: "abandoned",
      walk,
      stage: forward.stage,
      reason,
    });
  }

  #onAbandoned(from: PeerId, { walk, reason }: MessageOf<"abandoned">): void {
    const had = this.#dispatch.abandoned(from, walk);
    const held = this.#held.get(walkKey(walk));
    if (had && held !== undefined && !held.returning) this.#abandon(held, reason);
  }

  /**
   * Its issuer has given the walk up: what is held of it would wait for its gradient until the step ends.
   * Whoever waits for somebody itself says so, and is not to blame.
   */
  #onGivenUp(from: PeerId, { walk }: MessageOf<"givenUp">): void {
    const held = this.#held.get(walkKey(walk));
    if (held === undefined || held.previous !== from || held.returning) return;
    this.#dispatch.giveUp(walk);
    this.#abandon(held, "its issuer has given it up");
  }

  #letGo(held: Held): void {
    this.#held.delete(held.key);
    this.#dispatch.withdraw(held.walk);
    this.#holding.stage?.release(held.key);
  }

  #letGoBefore(step: number): void {
    for (const held of [...this.#held.values()]) {
      if (held.walk.step < step) this.#letGo(held);
    }
  }

  #onPeerLost({ peer, reason }: MessageOf<"peerLost">): void {
    this.#dispatch.lost(peer);
    this.#sessions.lost(peer);
    this.#restoring.lost(peer, reason);
    this.#following.lost(peer);
  }

  #onTimer({ name, key }: MessageOf<"timer">): void {
    switch (name) {
      case HELLO_TIMER:
        return this.#sayHello();
      case LEAVE_TIMER:
        return this.#depart(undefined);
      case SERVING_TIMER:
        return this.#sessions.timer();
      case WORK_TIMER:
        return this.#queue.onTimer();
      case DISPATCH_TIMER:
        return this.#dispatch.timer(key);
      case TRANSFER_TIMER:
        return this.#restoring.onTimer(key);
      case DONATION_TIMER:
        return this.#giving.onTimer();
    }
  }
}

/** Who sends walks to a stage. */
function previousRole(stage: number): string {
  return stage > 0 ? "host" : "trainer";
}

/** The role of a stage host. */
export function host(options: HostOptions) {
  const memory: Memory = { pledge: options.pledges?.initial, leaving: false };
  return behaviour("host", (context) => new Host(context, options, memory));
}
