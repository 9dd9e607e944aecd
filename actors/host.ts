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
import { DISPATCH_TIMER } from "./dispatch.ts";
import { Departing, type Departure, LEAVE_TIMER } from "./host/departing.ts";
import { Following, HELLO_TIMER, type PledgeStore } from "./host/following.ts";
import { Giving } from "./host/giving.ts";
import { Holding, type Prove } from "./host/holding.ts";
import { Offering } from "./host/offering.ts";
import { Opening } from "./host/opening.ts";
import { Restoring } from "./host/restoring.ts";
import { Snapshots, type SnapshotStore } from "./host/snapshots.ts";
import { StepDuty } from "./host/step_duty.ts";
import { Tally } from "./host/tally.ts";
import { Walks } from "./host/walks.ts";
import { Watches } from "./host/watches.ts";
import { WORK_TIMER, WorkQueue } from "./host/work_queue.ts";
import { VOUCHER_BYTES_MAX } from "./limits.ts";
import type { Message, MessageOf, Tensor } from "./messages.ts";
import { behaviour, reasonOf, type Role } from "./role.ts";
import { Serving, SERVING_TIMER } from "./serving.ts";
import type { TextBounds } from "./session_checks.ts";
import { Standalone } from "./standalone.ts";
import { DONATION_TIMER, TRANSFER_TIMER } from "./state_transfer.ts";
import { proveState, type Signer, stageService, type StateProof, type Verify } from "../routing/mod.ts";
import { DeviceLost, type Stage, type StageLayout, type StateManifest } from "../stages/mod.ts";

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
  readonly #holding = new Holding();
  readonly #snapshots: Snapshots;
  readonly #giving: Giving;
  readonly #restoring: Restoring;
  readonly #sessions: Serving;
  readonly #standalone: Standalone;
  /** No coordinator has given it its stage. */
  #choseItself = false;
  readonly #following: Following;
  #trouble: string | undefined;

  readonly #tally = new Tally();
  readonly #stepDuty: StepDuty;
  readonly #walks: Walks;
  readonly #departing: Departing;
  readonly #offering: Offering;
  readonly #opening: Opening;
  readonly #watches: Watches;

  constructor(context: Context<Message>, options: HostOptions, memory: Memory) {
    this.#context = context;
    this.#options = options;
    this.#watches = new Watches(context);
    this.#incarnation = context.entropy.integer(2 ** 31);
    this.#queue = new WorkQueue(context, {
      inFlightMax: () => this.#holding.stage?.inFlightMax ?? 1,
      readersWait: () => this.#sessions.waits,
      runReaders: () => this.#sessions.run(),
      failed: (error) => this.#onFailure(error),
    });
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
    const { firstStates } = options;
    this.#restoring = new Restoring(context, {
      holding,
      queue,
      snapshots,
      prove,
      layout,
      openStage,
      firstStates,
    }, {
      pause: (reason) => this.#pause(reason),
      trouble: (reason) => this.#setTrouble(reason),
      restored: () => {
        this.#stepDuty.reset();
        this.#sayHello();
      },
      watch: (service, wanted) => this.#watches.watch(service, "first", wanted),
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
      isLeaving: () => this.#departing.isLeaving,
    });
    this.#walks = new Walks(context, {
      holding,
      queue,
      tally: this.#tally,
      following: this.#following,
      tokensPerMicroBatch: options.tokensPerMicroBatch,
      rootOf: options.rootOf,
    }, {
      isServing: () => this.#offering.isServing,
      isReplaced: () => this.#departing.isReplaced,
      counted: () => this.#changed(),
      spoilt: () => this.#stepDuty.forget(),
    });
    this.#departing = new Departing(context, {
      holding,
      queue,
      snapshots,
      following: this.#following,
      memory,
    }, {
      isNeeded: () => this.#offering.isServing || this.#stepDuty.isApplying || this.#tally.size > 0,
      greet: () => this.#sayHello(),
      replaced: () => this.#offering.withdraw(),
      end: () => {
        this.#walks.breakAll("this host leaves");
        this.#pause("leaving");
      },
      left: (departure) => options.onLeft?.(departure),
    });
    this.#offering = new Offering(context, {
      holding,
      departing: this.#departing,
      waitingSeconds: () => this.#walks.waitingSeconds,
      roomTokens: () => this.#sessions.roomTokens,
    });
    this.#opening = new Opening({ holding, queue, snapshots, openStage, stages: options.bounds.stages }, {
      leave: (stage) => this.#leave(stage),
      opened: (stage, manifest, proof) => this.#onOpened(stage, manifest, proof),
    });
    this.#sessions = new Serving(context, {
      bounds: options.bounds,
      refuses: () => this.#offering.refusesSessions(),
      charge: (home, tokens) => options.tolls?.charge(home, tokens),
      wake: () => this.#queue.advance(),
      start: (tokens, run, done, failed) =>
        this.#queue.start({ kind: "extend", amount: tokens }, run, done, failed),
    });
    this.#standalone = new Standalone(context, {
      stages: options.bounds.stages,
      stage: () => this.#holding.stage?.index,
      movable: this.#movable,
      watch: (service, wanted) => this.#watches.watch(service, "look", wanted),
      take: (index) => this.#settleIn(index),
    });
    this.#following.start();
    this.#departing.start();
    if (options.stage !== undefined) this.#opening.open(options.stage);
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "performed":
        return this.#queue.onPerformed(message);
      case "forward":
        return this.#walks.onForward(from, message);
      case "backward":
        return this.#walks.onBackward(from, message);
      case "admitted":
        return this.#walks.onAdmitted(from, message);
      case "refused":
        return this.#walks.onRefused(from, message);
      case "processed":
        return this.#walks.onProcessed(from, message);
      case "abandoned":
        return this.#walks.onAbandoned(from, message);
      case "givenUp":
        return this.#walks.onGivenUp(from, message);
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
        return this.#departing.leave();
    }
  }

  stop(): void {
    this.#restoring.cancel();
    this.#following.stop();
    this.#departing.stop();
    this.abandon();
  }

  /** Its successor opens a stage of its own, and there may be no memory for two. */
  abandon(): void {
    this.#sessions.close("this host has stopped");
    this.#holding.stage?.close().catch((error) => {
      this.#context.trace("trouble", { reason: reasonOf(error) });
    });
  }

  /**
   * A stage whose device is gone is gone with all that was counted in it. Whoever waits for this host is
   * told, and it begins anew, as one that has just come; whether there is a device left to do so is for
   * `openStage` to say.
   */
  #onFailure(error: unknown): void {
    if (!(error instanceof DeviceLost)) return;
    this.#pause(error.message);
    this.#walks.breakAll(error.message);
    throw error;
  }

  // --- the stage and its state --------------------------------------------------------------------

  #onOpened(stage: Stage, manifest: StateManifest, proof: StateProof | undefined): void {
    const { index, step, parameters } = stage;
    this.#restoring.opened(stage, manifest, proof);
    this.#sessions.open(stage);
    this.#context.trace("stage opened", { stage: index, step, parameters });
    this.#watchNextOf(index, true);
    this.#sayHello();
  }

  /** To another stage. What is under way here is broken off; work that was begun ends before the stage is left. */
  #moveTo(index: number): void {
    const reason = `this host moves to stage ${index}`;
    this.#pause(reason);
    this.#walks.breakAll(reason);
    this.#restoring.cancel();
    this.#opening.open(index);
  }

  /** Nothing that was known of this stage holds for another. */
  #leave({ index }: Stage): void {
    this.#sessions.close(`this host leaves stage ${index}`);
    this.#watchNextOf(index, false);
    this.#walks.leave();
    this.#restoring.leave();
    this.#snapshots.leave();
    this.#holding.leave();
    this.#stepDuty.reset();
  }

  #watchNextOf(index: number, wanted: boolean): void {
    if (index + 1 < this.#options.bounds.stages) this.#watches.watch(stageService(index + 1), "next", wanted);
  }

  // --- the coordinator ----------------------------------------------------------------------------

  #onFound({ service, announcements }: MessageOf<"found">): void {
    if (service !== "coordinator") {
      this.#standalone.foundHosts(service, announcements);
      this.#restoring.foundHosts(service, announcements);
      // What comes late of the stage after one that this host has left is of no use.
      const isNext = this.#holding.stage !== undefined &&
        service === stageService(this.#holding.stage.index + 1);
      return isNext ? this.#walks.foundNext(announcements) : undefined;
    }
    this.#standalone.foundTrainers(announcements.length);
    this.#following.foundTrainers(announcements);
  }

  #sayHello(): void {
    this.#following.rest();
    this.#standAlone();
    if (this.#offering.servesSessions || this.#offering.isServing) this.#offering.announce();
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
      secondsPerMicroBatch: this.#walks.secondsPerMicroBatch ?? null,
      movable: this.#movable,
      missed: this.#restoring.missed,
      leaving: this.#departing.isLeaving,
      report: this.#offering.isServing ? null : this.#stepDuty.report,
    }, { isServing: this.#offering.isServing });
    this.#departing.departIfIdle();
  }

  get #movable(): boolean {
    return this.#options.stage === undefined;
  }

  // --- serving without a coordinator --------------------------------------------------------------

  /** Nobody knows of a coordinator: readers are served all the same, by a state that is what the run says. */
  #standAlone(): void {
    if (!this.#holding.isOpening) this.#standalone.tick();
    const isAlone = this.#standalone.isAlone && this.#restoring.isTrusted;
    // What kept it from serving until now is over.
    if (isAlone && !this.#offering.isAlone && !this.#offering.isServing) this.#trouble = undefined;
    this.#offering.standAlone(isAlone);
  }

  /** Takes a stage without a coordinator, and says so before it is there, so that other newcomers take another. */
  #settleIn(index: number): void {
    this.#context.trace("stage chosen", { stage: index });
    this.#choseItself = true;
    if (this.#holding.stage === undefined) this.#opening.open(index);
    else this.#moveTo(index);
    this.#offering.announceAhead(index);
  }

  /** What was begun under another term counts no more; what has been counted is reported. */
  #onPromised(): void {
    this.#offering.suspend();
    this.#stepDuty.unseal();
    this.#restoring.suspend();
    this.#walks.letGoOfTraining();
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
    if (message.kind === "relieved") return this.#departing.onRelieved(message);
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
      !this.#offering.isServing
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
    if (this.#holding.stage === undefined) this.#opening.open(index);
    else if (this.#holding.stage.index === index) this.#sayHello();
    else this.#moveTo(index);
  }

  #serve(round: number): void {
    this.#tally.seal(round - 1);
    // Others that stood alone until now begin to train as well.
    if (!this.#offering.isServing) this.#watchNextOf(this.#holding.stage!.index, true);
    this.#restoring.accepted();
    this.#trouble = undefined;
    this.#offering.serve();
    this.#changed();
  }

  /** The stage has taken a step. What was begun before it counts for nothing any more. */
  #onApplied(): void {
    this.#walks.letGoBefore(this.#holding.step);
    if (!this.#offering.isServing) this.#sayHello();
    this.#offering.announce();
    this.#changed();
  }

  /** Serves no more until the coordinator says so again. */
  #pause(reason: string): void {
    this.#sessions.loseAll(reason);
    this.#offering.end();
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
      serving: this.#offering.isServing,
      servesSessions: this.#offering.servesSessions,
      sessions: this.#sessions.count,
      leaving: this.#departing.isLeaving,
      coordinator: this.#following.leader,
      accumulated: this.#walks.countedTotal,
      trouble: this.#trouble,
    });
  }

  #onPeerLost({ peer, reason }: MessageOf<"peerLost">): void {
    this.#walks.lost(peer);
    this.#sessions.lost(peer);
    this.#restoring.lost(peer, reason);
    this.#following.lost(peer);
  }

  #onTimer({ name, key }: MessageOf<"timer">): void {
    switch (name) {
      case HELLO_TIMER:
        return this.#sayHello();
      case LEAVE_TIMER:
        return this.#departing.onTimer();
      case SERVING_TIMER:
        return this.#sessions.timer();
      case WORK_TIMER:
        return this.#queue.onTimer();
      case DISPATCH_TIMER:
        return this.#walks.onTimer(key);
      case TRANSFER_TIMER:
        return this.#restoring.onTimer(key);
      case DONATION_TIMER:
        return this.#giving.onTimer();
    }
  }
}

/** The role of a stage host. */
export function host(options: HostOptions) {
  const memory: Memory = { pledge: options.pledges?.initial, leaving: false };
  return behaviour("host", (context) => new Host(context, options, memory));
}
