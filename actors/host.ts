/**
 * The host: holds one stage, and serves it to trainers and readers. This file is the actor: it hands each
 * message to the part that it concerns (`host/`, `serving.ts`, `standalone.ts`), judges whether an order
 * may be obeyed, and does what concerns several parts. It computes, counts and fetches nothing itself, and
 * decides neither what a step is nor who else takes part.
 */

import type { Pledge } from "./allegiance.ts";
import type { Context, Envelope, PeerId } from "./core/actor.ts";
import { DISPATCH_TIMER } from "./dispatch.ts";
import { Departing, LEAVE_TIMER } from "./host/departing.ts";
import { Following, HELLO_TIMER } from "./host/following.ts";
import { Giving } from "./host/giving.ts";
import { Holding, type Prove } from "./host/holding.ts";
import { Offering } from "./host/offering.ts";
import type { HostOptions } from "./host/options.ts";
import { Placement } from "./host/placement.ts";
import { Restoring } from "./host/restoring.ts";
import { Snapshots } from "./host/snapshots.ts";
import { StepDuty, type StepOrder } from "./host/step_duty.ts";
import { Tally } from "./host/tally.ts";
import { Walks } from "./host/walks.ts";
import { Watches } from "./host/watches.ts";
import { WORK_TIMER, WorkQueue } from "./host/work_queue.ts";
import { VOUCHER_BYTES_MAX } from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { behaviour, reasonOf, type Role } from "./role.ts";
import { Serving, SERVING_TIMER } from "./serving.ts";
import { Standalone } from "./standalone.ts";
import { DONATION_TIMER, TRANSFER_TIMER } from "./state_transfer.ts";
import { proveState, stageService, type StateProof } from "../routing/mod.ts";
import { DeviceLost, type Stage, type StateManifest } from "../stages/mod.ts";

/** What outlives a restart of the host's actor. */
interface Memory {
  pledge: Pledge | undefined;
  leaving: boolean;
}

/** What a coordinator has a host do. */
type Order = StepOrder["kind"] | "placed" | "restore" | "accepted" | "leftOut" | "relieved";

class Host implements Role {
  readonly #context: Context<Message>;
  readonly #options: HostOptions;
  readonly #incarnation: number;
  readonly #queue: WorkQueue;
  readonly #watches: Watches;

  readonly #holding = new Holding();
  readonly #snapshots: Snapshots;
  readonly #placement: Placement;
  readonly #restoring: Restoring;
  readonly #giving: Giving;

  readonly #following: Following;
  readonly #standalone: Standalone;
  readonly #offering: Offering;
  readonly #departing: Departing;

  readonly #tally = new Tally();
  readonly #walks: Walks;
  readonly #stepDuty: StepDuty;
  readonly #sessions: Serving;
  #trouble: string | undefined;

  constructor(context: Context<Message>, options: HostOptions, memory: Memory) {
    const { run, bounds, openStage, layout, firstStates, tokensPerMicroBatch, signer, rootOf } = options;
    const { stage: asked, mayExport = true } = options;
    const prove: Prove = (claim, proofs) => proveState({ run, ...claim }, proofs, options.verify);
    const pause = (reason: string) => this.#pause(reason);
    const trouble = (reason: string | undefined) => this.#setTrouble(reason);
    const greet = () => this.#sayHello();

    this.#context = context;
    this.#options = options;
    this.#incarnation = context.entropy.integer(2 ** 31);
    const queue = this.#queue = new WorkQueue(context, {
      inFlightMax: () => this.#holding.stage?.inFlightMax ?? 1,
      readersWait: () => this.#sessions.waits,
      runReaders: () => this.#sessions.run(),
      failed: (error) => this.#onFailure(error),
    });
    this.#watches = new Watches(context);

    const holding = this.#holding;
    const { snapshots: store, snapshotEverySteps: everySteps } = options;
    const snapshots = this.#snapshots = new Snapshots({
      holding,
      queue,
      store,
      everySteps,
      prove,
      firstStates,
      trouble,
    });
    const state = { holding, queue, snapshots };
    this.#placement = new Placement({ ...state, openStage, stages: bounds.stages, asked }, {
      uproot: (reason) => this.#uproot(reason),
      leave: (stage) => this.#leave(stage),
      opened: (stage, manifest, proof) => this.#onOpened(stage, manifest, proof),
      greet,
    });
    this.#restoring = new Restoring(context, { ...state, prove, layout, openStage, firstStates }, {
      pause,
      trouble,
      restored: () => {
        this.#stepDuty.reset();
        this.#sayHello();
      },
      watch: (service, wanted) => this.#watches.watch(service, "first", wanted),
    });
    this.#giving = new Giving(context, { ...state, mayExport });

    const following = this.#following = new Following(context, { queue, store: options.pledges, memory }, {
      greet,
      heard: () => {
        this.#standalone.heard();
        this.#standAlone();
      },
      promised: () => this.#onPromised(),
      trouble,
    });
    this.#standalone = new Standalone(context, {
      stages: bounds.stages,
      stage: () => holding.stage?.index,
      movable: this.#placement.isMovable,
      watch: (service, wanted) => this.#watches.watch(service, "look", wanted),
      take: (index) => this.#settleIn(index),
    });
    const departing = this.#departing = new Departing(context, { ...state, following, memory }, {
      isNeeded: () => this.#offering.isServing || this.#stepDuty.isApplying || this.#tally.size > 0,
      greet,
      replaced: () => this.#offering.withdraw(),
      end: () => {
        this.#walks.breakAll("this host leaves");
        this.#pause("leaving");
      },
      left: (departure) => options.onLeft?.(departure),
    });
    this.#offering = new Offering(context, {
      holding,
      departing,
      waitingSeconds: () => this.#walks.waitingSeconds,
      roomTokens: () => this.#sessions.roomTokens,
    });

    const tally = this.#tally;
    this.#walks = new Walks(context, { holding, queue, tally, following, tokensPerMicroBatch, rootOf }, {
      isServing: () => this.#offering.isServing,
      isReplaced: () => departing.isReplaced,
      counted: () => this.#changed(),
      spoilt: () => this.#stepDuty.forget(),
    });
    const accounts = rootOf !== undefined;
    this.#stepDuty = new StepDuty(context, { ...state, tally, following, prove, run, signer, accounts }, {
      pause,
      trouble,
      applied: () => this.#onApplied(),
      isLeaving: () => departing.isLeaving,
    });
    this.#sessions = new Serving(context, {
      bounds,
      refuses: () => this.#offering.refusesSessions(),
      charge: (home, tokens) => options.tolls?.charge(home, tokens),
      wake: () => queue.advance(),
      start: (tokens, run, done, failed) =>
        queue.start({ kind: "extend", amount: tokens }, run, done, failed),
    });

    following.start();
    departing.start();
    this.#placement.start();
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

  /** What is under way here is broken off; work that was begun ends before the stage is left. */
  #uproot(reason: string): void {
    this.#pause(reason);
    this.#walks.breakAll(reason);
    this.#restoring.cancel();
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

  // --- whom it hears of, and what it says of itself -----------------------------------------------

  #onPeerLost({ peer, reason }: MessageOf<"peerLost">): void {
    this.#walks.lost(peer);
    this.#sessions.lost(peer);
    this.#restoring.lost(peer, reason);
    this.#following.lost(peer);
  }

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
      ...(this.#placement.isOwnChoice
        ? { stage: null, prefers: this.#holding.stage?.index, step: 0, stateHash: null }
        : {
          stage: this.#holding.stage?.index ?? null,
          step: this.#holding.step,
          stateHash: this.#holding.stateHash ?? null,
        }),
      snapshots: this.#snapshots.kept.flatMap(({ step, stateHash }) => step > 0 ? [{ step, stateHash }] : []),
      incarnation: this.#incarnation,
      secondsPerMicroBatch: this.#walks.secondsPerMicroBatch ?? null,
      movable: this.#placement.isMovable,
      missed: this.#restoring.missed,
      leaving: this.#departing.isLeaving,
      report: this.#offering.isServing ? null : this.#stepDuty.report,
    }, { isServing: this.#offering.isServing });
    this.#departing.departIfIdle();
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
    this.#placement.choose(index);
    this.#offering.announceAhead(index);
  }

  // --- what it is told to do ----------------------------------------------------------------------

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
    if (message.kind === "placed" && (stage === undefined || this.#placement.isOwnChoice)) {
      return (leader ?? from) === from ? this.#placement.give(message.stage) : undefined;
    }
    if (!this.#following.obeys(from, message.term)) {
      this.#context.trace("order ignored", { from, order: message.kind, term: message.term });
      return;
    }
    // It may be on its way to another stage.
    if (stage === undefined || this.#holding.isOpening) return;
    if (message.kind === "placed") {
      return this.#stepDuty.isApplying ? undefined : this.#placement.move(message.stage);
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

  // --- what its owner sees ------------------------------------------------------------------------

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
}

/** The role of a stage host. */
export function host(options: HostOptions) {
  const memory: Memory = { pledge: options.pledges?.initial, leaving: false };
  return behaviour("host", (context) => new Host(context, options, memory));
}
