/**
 * Carries out what the step protocol (`coordination.ts`) decides: sends its
 * commands, sets its timers, notices silence, and tells watchers what happened.
 * It decides nothing about a step itself.
 *
 * Every trainer has one. It either gathers hosts, leads them, or follows a trainer
 * that leads; it takes over when that one falls silent and hosts come to it. The
 * hosts' promises, not its own opinion, make it the only one (`allegiance.ts`).
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { Coordination } from "./coordination.ts";
import type { Command, CoordinationConfig, CoordinationEvent, Feeder } from "./coordination_events.ts";
import {
  COORDINATORS_MAX,
  GATHER_MS,
  HELLO_PERIOD_MS,
  JOIN_HOLD_MS,
  LEASE_MS,
  MEMBERS_MAX,
  PHASE_TIMEOUT_MS,
  REPORT_GRACE_MS,
  REVIVAL_WAIT_MS,
  SILENCE_MS_MAX,
} from "./limits.ts";
import {
  type Message,
  type MessageOf,
  type RemoteMessage,
  type Update,
  type Walk,
  walkKey,
} from "./messages.ts";
import type { RunEvent } from "./report.ts";
import { behaviour, type Role } from "./role.ts";
import { rebalanceDelayMs } from "../routing/mod.ts";

/** What a coordinator is made of. */
export interface CoordinatorOptions extends Omit<CoordinationConfig, "self"> {
  /** The last step that its owner knows of. */
  readonly knownStep: number;
  /** Between two looks at the balance of stages, about; 0: never. */
  readonly rebalancePeriodMs: number;
  readonly onEvent: (event: RunEvent) => void;
}

const GATHERED = "gathered";
const GRACE = "grace";
const PHASE = "phase";
const SILENCE = "silence";
const REBALANCE = "rebalance";
const REVIVAL = "revival";

/** The trainer that is followed. */
interface Leader {
  readonly peer: PeerId;
  term: number;
  heardAtMs: number;
}

/** A trainer that follows. */
interface Follower {
  readonly corpus: string;
  heardAtMs: number;
}

/** A micro-batch under way, and who feeds it. */
interface Fed {
  readonly walk: Walk;
  readonly feeder: PeerId;
}

/** What trainers tell each other of a step that was taken. */
type StepFacts = Omit<MessageOf<"stepped">, "kind" | "term">;

class Coordinator implements Role {
  readonly #context: Context<Message>;
  readonly #options: CoordinatorOptions;
  #coordination: Coordination;
  readonly #heardAtMs = new Map<PeerId, number>();
  /** Other trainers that were announced. */
  #rivals: readonly PeerId[] = [];
  #leader: Leader | undefined;
  /** Whether another was ever followed: the run has taken steps, perhaps. */
  #followed = false;
  /** The term that this peer's trainer was told to feed. */
  #toldTerm = 0;
  /** Trainers that follow, and feed their share. */
  readonly #followers = new Map<PeerId, Follower>();
  readonly #fed = new Map<string, Fed>();
  #gathering: Timer | undefined;
  #phaseTimer: Timer | undefined;
  #stepStartedMs: number;
  /** The last step that its owner was told of. */
  #toldStep: number;
  /** What is known of it, for those that follow. */
  #latest: StepFacts | undefined;

  constructor(context: Context<Message>, options: CoordinatorOptions) {
    this.#context = context;
    this.#options = options;
    this.#coordination = this.#newCoordination();
    this.#stepStartedMs = context.clock.nowMs();
    this.#toldStep = options.knownStep;
    context.tell({ actor: "scout" }, { kind: "watch", service: "coordinator", subscriber: context.actor });
    context.tell({ actor: "scout" }, {
      kind: "announce",
      service: "coordinator",
      step: 0,
      stateHash: null,
      load: 0,
      trains: true,
      sessionRoom: 0,
    });
    this.#watchSilence();
    this.#setRebalanceTimer();
  }

  receive({ from, message }: Envelope<Message>): void {
    if (this.#heardAtMs.has(from)) this.#heardAtMs.set(from, this.#context.clock.nowMs());
    switch (message.kind) {
      case "found":
        return this.#onFound(message.announcements.map(({ peer }) => peer));
      case "follow":
        return this.#onFollow(from, message);
      case "leading":
        return this.#onLeading(from, message);
      case "stepped":
        return this.#onStepped(from, message);
      case "outranked":
        return this.#onOutranked(from, message);
      case "peerLost":
        this.#lose(message.peer, message.reason);
        return this.#loseTrainer(message.peer);
      case "timer":
        return this.#onTimer(message);
    }
    // Whoever follows has no hosts: theirs are the leader's.
    if (this.#leader !== undefined) return;
    switch (message.kind) {
      case "hello": {
        if (!this.#heardAtMs.has(from)) {
          if (this.#heardAtMs.size >= MEMBERS_MAX) return;
          this.#heardAtMs.set(from, this.#context.clock.nowMs());
        }
        const { kind: _, ...hello } = message;
        return this.#advance({ kind: "hello", peer: from, hello });
      }
      case "accumulated":
      case "prepared":
      case "fenced":
      case "reduced":
      case "reduceFailed":
      case "applied":
        return this.#advance({ kind: message.kind, peer: from, report: message } as CoordinationEvent);
      case "walkOver":
        return this.#onWalkOver(from, message);
      case "proceed":
        return this.#advance(message);
    }
  }

  stop(): void {
    // Another trainer need not wait for the lease to end.
    if (this.#coordination.leads) this.#release();
  }

  #newCoordination(): Coordination {
    const resume = this.#options.resume || this.#followed;
    return new Coordination({ ...this.#options, resume, self: this.#context.peer });
  }

  #advance(event: CoordinationEvent): void {
    const coordination = this.#coordination;
    const commands = coordination.advance(event);
    if (coordination.leads && this.#toldTerm !== coordination.term) {
      const { term, step } = coordination;
      this.#toldTerm = term;
      this.#fed.clear();
      this.#context.tell({ actor: "trainer" }, { kind: "led", leader: this.#context.peer, term });
      this.#options.onEvent({ kind: "leading", term, step });
    }
    for (const command of commands) this.#carryOut(command);
  }

  // --- other trainers -----------------------------------------------------------------------------

  #onFound(peers: readonly PeerId[]): void {
    this.#rivals = peers.slice(0, COORDINATORS_MAX);
    this.#askRivals();
  }

  /** Who leads says so, and who doesn't asks. */
  #askRivals(): void {
    if (this.#leader !== undefined) return;
    for (const peer of this.#rivals) {
      if (this.#coordination.leads) this.#sayLeading(peer);
      else this.#askToFeed(peer);
    }
  }

  #toTrainer(peer: PeerId, message: RemoteMessage): boolean {
    return this.#context.tell(
      { peer, actor: message.kind === "assign" ? "trainer" : "coordinator" },
      message,
    );
  }

  #sayLeading(peer: PeerId): void {
    const { term, step, phase } = this.#coordination;
    this.#toTrainer(peer, { kind: "leading", term, step, done: phase === "done" });
  }

  #askToFeed(peer: PeerId): void {
    this.#toTrainer(peer, { kind: "follow", corpus: this.#options.corpus });
  }

  #onFollow(from: PeerId, { corpus }: MessageOf<"follow">): void {
    if (!this.#coordination.leads && this.#coordination.phase !== "done") return;
    const heardAtMs = this.#context.clock.nowMs();
    const known = this.#followers.get(from);
    if (known?.corpus === corpus) known.heardAtMs = heardAtMs;
    else if (known !== undefined || this.#followers.size < COORDINATORS_MAX) {
      this.#followers.set(from, { corpus, heardAtMs });
      this.#context.tell({ actor: "settler" }, { kind: "feeder", peer: from });
      this.#feedersChanged();
    }
    this.#sayLeading(from);
    // It may have followed somebody who did not live to tell of the last step.
    if (known === undefined && this.#latest !== undefined) this.#sayStepped(from, this.#latest);
  }

  #feedersChanged(): void {
    const others = [...this.#followers].map(([peer, { corpus }]) => ({ peer, corpus }));
    this.#advance({ kind: "feeders", others });
  }

  #onLeading(from: PeerId, { term, step, done }: MessageOf<"leading">): void {
    const own = this.#coordination;
    if (this.#leader === undefined && own.leads) {
      // Two runs have met that began apart. The later term is the one that most hosts chose.
      const theirs = term - own.term || step - own.step || (from < this.#context.peer ? 1 : -1);
      if (theirs < 0) return this.#sayLeading(from);
    }
    if (this.#leader !== undefined && from !== this.#leader.peer && term <= this.#leader.term) return;
    this.#follow(from, term, step);
    if (done) this.#options.onEvent({ kind: "done", step });
  }

  #follow(peer: PeerId, term: number, step: number): void {
    const heardAtMs = this.#context.clock.nowMs();
    if (this.#leader?.peer === peer && this.#leader.term === term) {
      this.#leader.heardAtMs = heardAtMs;
      return;
    }
    this.#release();
    this.#leader = { peer, term, heardAtMs };
    this.#followed = true;
    this.#startOver();
    this.#context.tell({ actor: "trainer" }, { kind: "led", leader: peer, term });
    this.#options.onEvent({ kind: "following", leader: peer, step });
    this.#askToFeed(peer);
  }

  #onStepped(from: PeerId, { kind: _, term, ...step }: MessageOf<"stepped">): void {
    if (from !== this.#leader?.peer || term !== this.#leader.term) return;
    this.#leader.heardAtMs = this.#context.clock.nowMs();
    if (step.step !== this.#toldStep) this.#tellStep(step);
  }

  #sayStepped(peer: PeerId, step: StepFacts): void {
    this.#toTrainer(peer, { kind: "stepped", term: this.#coordination.term, ...step });
  }

  /** A step that somebody else coordinated. */
  #tellStep(step: StepFacts): void {
    this.#noteStep(step);
    this.#options.onEvent({ kind: "step", ...step, served: {}, stateHashes: [] });
  }

  #onOutranked(from: PeerId, { term, leader }: MessageOf<"outranked">): void {
    if (this.#leader !== undefined) return;
    const own = this.#coordination;
    const { peer } = this.#context;
    const mine = own.term;
    this.#advance({ kind: "outranked", peer: from, term });
    if (leader === null || leader === peer) return;
    // Of two that ask for promises under one term, the one whose name sorts first goes on.
    if (term > mine || (term === mine && leader < peer && !own.leads)) this.#follow(leader, term, own.step);
  }

  /** The hosts that promised themselves to this coordinator may promise themselves to another. */
  #release(): void {
    const { term } = this.#coordination;
    for (const { peer } of this.#coordination.members()) {
      this.#context.tell({ peer, actor: "host" }, { kind: "released", term });
    }
  }

  /** Knows no host any more, and gathers anew when it does not follow. */
  #startOver(): void {
    this.#gathering?.cancel();
    this.#phaseTimer?.cancel();
    this.#heardAtMs.clear();
    this.#followers.clear();
    this.#fed.clear();
    this.#toldTerm = 0;
    this.#coordination = this.#newCoordination();
  }

  /** The leader is silent: whoever of those that followed it finds most hosts takes over. */
  #stand(): void {
    this.#leader = undefined;
    this.#startOver();
    this.#askRivals();
  }

  #loseTrainer(peer: PeerId): void {
    if (this.#leader?.peer === peer) this.#stand();
    if (!this.#followers.delete(peer)) return;
    this.#feedersChanged();
    for (const { walk, feeder } of [...this.#fed.values()]) {
      if (feeder === peer) this.#walkOver(walk, `trainer ${peer} was lost`);
    }
  }

  // --- the walks that trainers feed ---------------------------------------------------------------

  #assign(walk: Walk, mask: readonly number[], { peer, corpus }: Feeder): void {
    const order = { kind: "assign", walk, mask, corpus } as const;
    this.#fed.set(walkKey(walk), { walk, feeder: peer });
    if (peer === this.#context.peer) this.#context.tell({ actor: "trainer" }, order);
    else if (!this.#toTrainer(peer, order)) this.#loseSoon(peer);
  }

  #onWalkOver(from: PeerId, { walk, reason }: MessageOf<"walkOver">): void {
    if (this.#fed.get(walkKey(walk))?.feeder === from) this.#walkOver(walk, reason);
  }

  #walkOver(walk: Walk, reason: string | null): void {
    this.#fed.delete(walkKey(walk));
    this.#advance({ kind: "walkOver", walk, reason });
  }

  // --- what the protocol decides ------------------------------------------------------------------

  #carryOut(command: Command): void {
    const { onEvent } = this.#options;
    const step = this.#coordination.step;
    switch (command.kind) {
      case "send":
        if (!this.#context.tell({ peer: command.peer, actor: "host" }, command.message)) {
          this.#loseSoon(command.peer);
        }
        return;
      case "assign":
        return this.#assign(command.walk, command.mask, command.feeder);
      case "awaitQuiet":
        this.#gathering?.cancel();
        this.#gathering = this.#setTimer(GATHER_MS, GATHERED, "");
        return;
      case "awaitGrace":
        this.#setTimer(REPORT_GRACE_MS, GRACE, `${step} ${command.microBatch} ${command.attempt}`);
        return;
      case "awaitPhase":
        this.#phaseTimer?.cancel();
        this.#phaseTimer = this.#setTimer(
          command.phase === "holding" ? JOIN_HOLD_MS : PHASE_TIMEOUT_MS,
          PHASE,
          `${command.phase} ${command.step} ${command.round}`,
        );
        return;
      case "awaitRevival":
        this.#setTimer(REVIVAL_WAIT_MS, REVIVAL, `${command.term} ${command.step}`);
        return;
      case "waiting":
        return onEvent({ kind: "waiting", step, stage: command.stage, reason: command.reason });
      case "joined":
        return onEvent({ kind: "joined", peer: command.peer, stage: command.stage, step });
      case "moved": {
        const { kind, peer, from, to } = command;
        return onEvent({ kind, peer, from, to, step });
      }
      case "left":
        return onEvent({
          kind: "lost",
          peer: command.peer,
          stage: command.stage,
          step,
          reason: command.reason,
        });
      case "between":
        return this.#onBetween(command);
      case "found":
        if (command.step > this.#toldStep) {
          return this.#tellStep(this.#factsOf(command.step, command.update, 0));
        }
        // It may have gone back.
        this.#toldStep = command.step;
        return;
      case "done":
        for (const peer of this.#followers.keys()) this.#sayLeading(peer);
        return onEvent({ kind: "done", step: command.step });
      case "failed":
        return onEvent({ kind: "failed", step, reason: command.reason });
      default:
        command satisfies never;
    }
  }

  #onBetween({ step, applied }: Extract<Command, { kind: "between" }>): void {
    this.#fed.clear();
    if (applied !== null) {
      const { update, replays, served, stateHashes } = applied;
      const facts = this.#factsOf(step, update, replays);
      for (const peer of this.#followers.keys()) this.#sayStepped(peer, facts);
      this.#noteStep(facts);
      this.#options.onEvent({ kind: "step", ...facts, served, stateHashes });
    }
    this.#stepStartedMs = this.#context.clock.nowMs();
    this.#context.tell({ actor: "trainer" }, {
      kind: "stepApplied",
      term: this.#coordination.term,
      step,
    });
  }

  #noteStep(step: StepFacts): void {
    this.#toldStep = step.step;
    this.#latest = step;
    this.#stepStartedMs = this.#context.clock.nowMs();
  }

  #factsOf(step: number, update: Update, replays: number): StepFacts {
    const { lossSum, tokens, squareSum, learningRate } = update;
    return {
      step,
      loss: lossSum / tokens,
      learningRate,
      gradientNorm: Math.sqrt(squareSum) / tokens,
      tokens,
      seconds: (this.#context.clock.nowMs() - this.#stepStartedMs) / 1000,
      replays,
      hosts: this.#coordination.hosts(),
    };
  }

  /** Not now: the commands of one event belong together. */
  #loseSoon(peer: PeerId): void {
    this.#context.tell({ actor: this.#context.actor }, {
      kind: "peerLost",
      peer,
      reason: "it can't be reached",
    });
  }

  #setTimer(delayMs: number, name: string, key: string): Timer {
    return this.#context.after(delayMs, { kind: "timer", name, key });
  }

  #setRebalanceTimer(): void {
    const { rebalancePeriodMs } = this.#options;
    if (rebalancePeriodMs === 0) return;
    this.#setTimer(rebalanceDelayMs(rebalancePeriodMs, this.#context.entropy.uniform()), REBALANCE, "");
  }

  #onTimer({ name, key }: MessageOf<"timer">): void {
    const [first, second, third] = key.split(" ");
    switch (name) {
      case GATHERED:
        return this.#advance({ kind: "gathered" });
      case GRACE:
        if (Number(first) !== this.#coordination.step) return;
        return this.#advance({ kind: "graceOver", microBatch: Number(second), attempt: Number(third) });
      case PHASE:
        return this.#advance({
          kind: "phaseTimeout",
          phase: first as Coordination["phase"],
          step: Number(second),
          round: Number(third),
        });
      case REBALANCE:
        this.#setRebalanceTimer();
        return this.#advance({ kind: "rebalance" });
      case REVIVAL:
        return this.#advance({ kind: "revivalDue", term: Number(first), step: Number(second) });
      case SILENCE:
        return this.#watchSilence();
    }
  }

  #watchSilence(): void {
    const nowMs = this.#context.clock.nowMs();
    for (const [peer, heardAtMs] of [...this.#heardAtMs]) {
      if (nowMs - heardAtMs > SILENCE_MS_MAX) this.#lose(peer, `it was silent for ${SILENCE_MS_MAX} ms`);
    }
    for (const [peer, { heardAtMs }] of [...this.#followers]) {
      if (nowMs - heardAtMs > SILENCE_MS_MAX) this.#loseTrainer(peer);
    }
    if (this.#leader === undefined) {
      this.#advance({ kind: "tick" });
      if (!this.#coordination.leads) this.#askRivals();
    } else if (nowMs - this.#leader.heardAtMs > LEASE_MS) this.#stand();
    else this.#askToFeed(this.#leader.peer);
    this.#setTimer(HELLO_PERIOD_MS, SILENCE, "");
  }

  #lose(peer: PeerId, reason: string): void {
    if (this.#heardAtMs.delete(peer)) this.#advance({ kind: "lost", peer, reason });
  }
}

/** The role of a coordinator. */
export function coordinator(options: CoordinatorOptions) {
  return behaviour("coordinator", (context) => new Coordinator(context, options));
}
