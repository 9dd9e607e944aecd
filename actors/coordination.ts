/**
 * The step protocol as a reducer: it keeps the table *micro-batch × stage → the
 * host that accumulated it*, and from each event derives what is to be done. It
 * does no input or output, reads no clock and draws no chance; the coordinator
 * role carries out its commands. The state is changed in place, and depends on
 * nothing but the events.
 *
 *     gathering → between → holding → filling → preparing → reducing → applying → between …
 *                                        ↑  fencing ↓  │        │
 *                                        └─────────────┴────────┘  a host was lost: next round
 *
 * A coordinator begins by gathering, whether the run is new, or stood still, or was
 * another's who is gone: it asks nobody for a promise before enough hosts are
 * there to form a quorum (`electorate.ts`), and rebuilds the table from what the
 * hosts that promised say they hold.
 */

import { Contradictions } from "./contradictions.ts";
import type {
  AppliedStep,
  Command,
  CoordinationConfig,
  CoordinationEvent,
  Feeder,
  Hello,
  Phase,
} from "./coordination_events.ts";
import type { PeerId } from "./core/actor.ts";
import { MOVED_SHARE_MAX } from "./limits.ts";
import type { Electorate, MessageOf, RemoteMessage, Update, Walk } from "./messages.ts";
import { applicable, latestApplied, mostCommon, newestCommon, offersOf } from "./offers.ts";
import { type Gap, pairsOf, StepTable } from "./step_table.ts";
import { StageStates } from "./stage_states.ts";
import { compareSums, takeStock } from "./stock_taking.ts";
import { Voters } from "./voters.ts";
import { type BalancedHost, type BalanceRules, Placement, planMoves } from "../routing/mod.ts";

/** A host that was left out of so many steps for what it sent serves no more until it starts again. */
const STRIKES_MAX = 3;

/**
 * The run waits for the same host after so many times as many steps as the last time. A slow machine gets in
 * some time, also where steps are short; one that pretends to be slow costs ever less.
 */
const HOLD_STEPS_FACTOR = 4;

/** Rounds of a step after which it goes on without a host that contradicts others, or itself. */
const CONTRADICTED_ROUNDS_MAX = {
  /** What it holds. Reports that are late make two hosts count the same, and both are right. */
  table: 3,
  /** The sum that its replicas have reduced to. */
  sum: 3,
  /** Whether what it sent can be used. */
  numbers: 2,
  /** It can't reduce: others may be dying around it. */
  failure: 8,
} as const;

interface Member {
  readonly peer: PeerId;
  /** That it holds, or was told to. */
  stage: number;
  hello: Hello;
  /** Has been sent to its stage from another, and has not said hello from there. */
  moving: boolean;
  /** Has promised itself to this coordinator, under the present term. */
  promised: boolean;
  /** Serves: has the state of the current step and may accumulate. */
  accepted: boolean;
  /** Steps that it was left out of for what it sent. */
  strikes: number;
  /** Times that the run has waited for it, and the step from which on it may again. */
  holds: number;
  heldFromStep: number;
}

/** The coordination of one run. See the head of the file. */
export class Coordination {
  /** Fencing number: a host that has promised a higher one follows this no more. 0 before it asks for promises. */
  term = 0;
  /** Steps applied so far. */
  step = 0;
  round = 0;
  phase: Phase = "gathering";

  readonly #config: CoordinationConfig;
  readonly #members = new Map<PeerId, Member>();
  /** In the order of their names. */
  #feeders: readonly Feeder[];
  /** At `step`. */
  readonly #states = new StageStates();
  readonly #table: StepTable;
  /** Whose answer the phase waits for. */
  readonly #awaited = new Set<PeerId>();
  readonly #prepared = new Map<PeerId, MessageOf<"prepared">>();
  readonly #reduced = new Map<PeerId, MessageOf<"reduced">>();
  readonly #applied = new Map<PeerId, MessageOf<"applied">>();
  /** Who adds up in this round, by stage. */
  #replicas: PeerId[][] = [];
  readonly #contradictions = new Contradictions();
  /** Who takes no part in this step any more. */
  readonly #leftOut = new Set<PeerId>();
  #update: Update | undefined;
  #waitingFor: string | undefined;
  /** Whether the run has been gathered before. */
  #started = false;
  /** Enough hosts are there: they are asked for their promise. */
  #campaigning = false;
  /** The highest term that any host has promised. */
  #highestTerm = 0;
  /** Who serves, or who knows of the electorate, has changed since the last look. */
  #electionIsDue = false;
  readonly #voters = new Voters();
  /** The balance of stages is looked at before the next step. */
  #rebalanceDue = false;
  /** Where newcomers go; made anew now and then. */
  #placement: Placement | undefined;
  /** A stage may be revived from snapshots, if nobody comes who spares the run that. */
  #revivalAwaited = false;
  /** Those who hold the newest step have been waited for. */
  #mayGoBack = false;
  #commands: Command[] = [];

  constructor(config: CoordinationConfig) {
    this.#config = config;
    this.#table = new StepTable(config.stages);
    this.#feeders = [this.#ownFeeder];
  }

  /** One event. @returns what is to be done, in this order. */
  advance(event: CoordinationEvent): Command[] {
    this.#commands = [];
    this.#handle(event);
    if (this.#electionIsDue) this.#elect();
    return this.#commands;
  }

  #handle(event: CoordinationEvent): void {
    switch (event.kind) {
      case "hello":
        this.#onHello(event.peer, event.hello);
        break;
      case "lost":
        this.#remove(event.peer, event.reason);
        break;
      case "gathered":
        if (this.phase === "gathering") this.#chooseCommonState();
        break;
      case "feeders":
        this.#feeders = [this.#ownFeeder, ...event.others].sort((a, b) => a.peer < b.peer ? -1 : 1);
        break;
      case "outranked":
        this.#onOutranked(event.peer, event.term);
        break;
      case "tick":
        this.#placement = undefined;
        this.#seekRevival();
        this.#takeBack();
        break;
      case "accumulated":
        this.#onAccumulated(event.peer, event.report);
        break;
      case "walkOver":
        this.#onWalkOver(event.walk, event.reason);
        break;
      case "graceOver":
        this.#onGraceOver(event.microBatch, event.attempt);
        break;
      case "prepared":
        if (this.#answers("preparing", event.peer, event.report)) {
          this.#prepared.set(event.peer, event.report);
          this.#awaited.delete(event.peer);
          this.#checkPrepared();
        }
        break;
      case "fenced":
        if (this.#answers("fencing", event.peer, event.report)) {
          this.#awaited.delete(event.peer);
          if (this.#awaited.size === 0) this.#nextRound();
        }
        break;
      case "reduced":
        if (this.#answers("reducing", event.peer, event.report)) {
          this.#reduced.set(event.peer, event.report);
          this.#awaited.delete(event.peer);
          this.#checkReduced();
        }
        break;
      case "reduceFailed":
        this.#onReduceFailed(event.peer, event.report);
        break;
      case "applied":
        if (
          this.phase === "applying" && event.report.term === this.term &&
          event.report.step === this.step + 1 && this.#awaited.delete(event.peer)
        ) {
          this.#applied.set(event.peer, event.report);
          this.#checkApplied();
        }
        break;
      case "phaseTimeout":
        this.#onPhaseTimeout(event);
        break;
      case "proceed":
        if (this.phase === "between" && event.step === this.step) this.#hold();
        break;
      case "rebalance":
        this.#rebalanceDue = true;
        break;
      case "revivalDue":
        this.#revivalAwaited = false;
        if (event.term === this.term && event.step === this.step) this.#revive();
        else if (this.phase === "gathering") this.#awaitRevival();
        break;
      default:
        event satisfies never;
    }
  }

  /** Accepted hosts of each stage. */
  hosts(): number[] {
    const counts = new Array<number>(this.#config.stages).fill(0);
    for (const member of this.#members.values()) if (member.accepted) counts[member.stage]++;
    return counts;
  }

  /** Whether hosts follow this coordinator. */
  get leads(): boolean {
    return this.phase !== "gathering" && this.phase !== "done";
  }

  /** Peers that have said hello, with the stage they were given. */
  members(): { peer: PeerId; stage: number; accepted: boolean }[] {
    return [...this.#members.values()].map(({ peer, stage, accepted }) => ({ peer, stage, accepted }));
  }

  // --- membership ---------------------------------------------------------------------------------

  #onHello(peer: PeerId, hello: Hello): void {
    let member = this.#members.get(peer);
    if (member !== undefined && !member.moving && hello.stage !== null && hello.stage !== member.stage) {
      this.#remove(peer, `it moved to stage ${hello.stage}`);
      member = undefined;
    }
    const isNew = member === undefined;
    if (member === undefined) {
      const stage = hello.stage ?? this.#place(hello.prefers);
      if (stage >= this.#config.stages) return;
      member = {
        peer,
        stage,
        hello,
        moving: false,
        promised: false,
        accepted: false,
        strikes: 0,
        holds: 0,
        heldFromStep: 0,
      };
      this.#members.set(peer, member);
    }
    const promised = hello.term === this.term && hello.leader === this.#config.self;
    const changed = isNew || member.promised !== promised || member.hello.step !== hello.step ||
      member.hello.stateHash !== hello.stateHash;
    const restarted = member.hello.incarnation !== hello.incarnation;
    if (this.#knowsMore(member, hello) || hello.leaving !== member.hello.leaving) this.#electionIsDue = true;
    member.hello = hello;
    member.promised = promised;
    this.#highestTerm = Math.max(this.#highestTerm, hello.term);
    // A host without a stage holds nothing that a promise would protect.
    if (hello.stage === null) {
      this.#send(peer, this.#placed(member));
      return;
    }
    if (!promised) {
      if (member.accepted) this.#demote(member, "it follows another coordinator");
      if (this.#outranks(hello) && (this.leads || this.#campaigning)) return this.#gatherAnew();
    }
    if (this.phase === "gathering") {
      if (this.#campaigning) this.#lead(member);
      if (!changed) return;
      if (this.#campaigning && [...this.#members.values()].every((it) => it.promised)) {
        this.#chooseCommonState();
      } else this.#commands.push({ kind: "awaitQuiet" });
      return;
    }
    if (this.phase === "done") return hello.leaving ? this.#relieve(member, true) : undefined;
    this.#lead(member);
    if (!promised) return;
    if (hello.leaving && !restarted) return this.#relieve(member, !member.accepted);
    if (hello.stage !== member.stage) return this.#send(peer, this.#placed(member));
    member.moving = false;
    if (restarted) member.strikes = 0;
    if (member.accepted) {
      if (!restarted) return;
      this.#demote(member, "it started again");
    }
    this.#learnProof(member);
    this.#admit(member);
  }

  /**
   * A host that wants to leave stays until the step that it takes part in is over: what it holds is not
   * lost, and nothing has to be replayed. The next step begins without it.
   */
  #relieve(member: Member, now: boolean): void {
    const { peer, stage } = member;
    const replicas = this.#staying().filter((other) => other.stage === stage).length;
    this.#send(peer, { kind: "relieved", term: this.term, replicas, now });
    if (!now) return;
    this.#members.delete(peer);
    if (!member.accepted) return;
    member.accepted = false;
    this.#electionIsDue = true;
    this.#voters.recount();
    this.#commands.push({ kind: "left", peer, stage, reason: "it left in good order" });
  }

  /** Whether a host serves, and will go on serving. */
  #stays(peer: PeerId): boolean {
    const member = this.#members.get(peer);
    return member !== undefined && member.accepted && !member.hello.leaving;
  }

  #staying(): Member[] {
    return this.#accepted().filter(({ peer }) => this.#stays(peer));
  }

  /** Lets those go that want to, unless the others could not commit a step without them: then once they can. */
  #relieveLeavers(): void {
    const leaving = this.#accepted().filter(({ hello }) => hello.leaving);
    if (leaving.length === 0) return;
    const isEverybody = this.#staying().length === 0;
    if (!isEverybody && this.#voters.shortfall((peer) => this.#stays(peer)) !== null) return;
    for (const member of leaving) this.#relieve(member, true);
  }

  /** Whether a host has heard of an electorate that it did not know when it said hello before. */
  #knowsMore({ hello: before }: Member, { latest }: Hello): boolean {
    return latest?.number !== before.latest?.number || latest?.term !== before.latest?.term;
  }

  /** Whether a host that follows nobody else has promised a term that this coordinator's does not exceed. */
  #outranks({ term, leader }: Hello): boolean {
    return term > this.term || (term > 0 && term === this.term && leader !== this.#config.self);
  }

  #onOutranked(peer: PeerId, term: number): void {
    this.#highestTerm = Math.max(this.#highestTerm, term);
    const member = this.#members.get(peer);
    if (member !== undefined) this.#remove(peer, "it follows another coordinator");
  }

  /**
   * Asks for promises under a term above all that were heard of. What hosts have
   * accumulated is not lost: they report it with their promise.
   */
  #gatherAnew(): void {
    // A round that is being agreed on ends first, one way or the other.
    if (!["gathering", "between", "holding", "filling"].includes(this.phase)) return;
    this.#backToGathering();
    this.#commands.push({ kind: "awaitQuiet" });
  }

  #backToGathering(): void {
    this.phase = "gathering";
    this.#campaigning = false;
    for (const member of this.#members.values()) {
      member.promised = member.accepted = false;
      // Whether the order to move arrived is for the host to say.
      if (member.moving) this.#members.delete(member.peer);
    }
    this.#awaited.clear();
    this.#table.clear();
    this.#voters.clear();
  }

  // --- promises -----------------------------------------------------------------------------------

  /** Asks for a promise, or renews the lease of the host that gave one. */
  #lead({ peer, hello: { latest } }: Member): void {
    const electorates = this.#voters.isKnownTo(latest) ? [] : this.#voters.named;
    this.#send(peer, { kind: "lead", term: this.term, electorates });
  }

  /** What hosts remember of earlier terms. */
  #memories(members: readonly Member[]): Map<PeerId, readonly Electorate[]> {
    return new Map(members.map(({ peer, hello }) => [peer, hello.electorates]));
  }

  /** Why the hosts that serve may not commit anything, in words; `null` if they may. */
  #lacksQuorum(): string | null {
    return this.#voters.lacks((peer) => this.#members.get(peer)?.accepted ?? false);
  }

  /** Names and settles electorates as hosts come, go and remember. */
  #elect(): void {
    this.#electionIsDue = false;
    if (!this.leads) return;
    this.#settleNext();
    if (this.#voters.name(this.term, this.#staying().map(({ peer }) => peer))) this.#tellElectors();
  }

  #settleNext(): void {
    const former = this.#voters.named;
    const isSettled = this.#voters.settle((peer) => {
      const member = this.#members.get(peer);
      return member?.promised ? member.hello.latest : null;
    });
    if (!isSettled) return;
    this.#tellElectors(former);
    if (this.phase === "filling") this.#assignGaps();
  }

  /** Those of the electorate in force have to remember the next one as well. */
  #tellElectors(former: readonly Electorate[] = []): void {
    const { electors, named } = this.#voters;
    for (const peer of new Set([...former.flatMap((it) => it.electors), ...electors])) {
      if (!this.#members.get(peer)?.promised) continue;
      this.#send(peer, { kind: "lead", term: this.term, electorates: named });
    }
  }

  /** Takes a host in if it holds the current state, or tells it where to get that. */
  #admit(member: Member): void {
    if (this.phase === "gathering" || this.phase === "done" || !member.promised || member.moving) return;
    if (this.#isLeftOut(member)) return;
    const wanted = this.#states.hashes[member.stage];
    const { hello, peer, stage } = member;
    if (hello.step === this.step && hello.stateHash === wanted) {
      if (this.phase !== "filling" && this.phase !== "holding" && this.phase !== "between") return;
      this.#accept(member, false);
      if (this.phase === "holding") this.#startIfNobodyIsAwaited();
      else if (this.phase === "filling") this.#assignGaps();
      return;
    }
    if (this.phase === "applying") return;
    const donors = [...this.#members.values()].filter((other) => other.accepted && other.stage === stage);
    const onDisk = hello.snapshots.some((snapshot) =>
      snapshot.step === this.step && snapshot.stateHash === wanted
    );
    if (donors.length === 0 && !onDisk) return;
    this.#send(peer, {
      kind: "restore",
      term: this.term,
      stage,
      step: this.step,
      stateHash: wanted,
      donors: donors.map((donor) => donor.peer).sort(),
      proof: this.#states.proofOf(stage),
    });
  }

  #accept(member: Member, keep: boolean): void {
    member.accepted = true;
    this.#electionIsDue = true;
    this.#voters.recount();
    const { peer, stage } = member;
    this.#send(peer, { kind: "accepted", term: this.term, step: this.step, round: this.round, keep });
    this.#commands.push({ kind: "joined", peer, stage });
  }

  #remove(peer: PeerId, reason: string): void {
    const member = this.#members.get(peer);
    if (member === undefined) return;
    this.#members.delete(peer);
    this.#placement = undefined;
    if (member.accepted) this.#afterLoss(member, reason);
    else if (this.phase === "holding") this.#startIfNobodyIsAwaited();
    else if (this.phase === "gathering") this.#commands.push({ kind: "awaitQuiet" });
  }

  /** A host that follows nobody else has promised a higher term. */
  #isOutranked(): boolean {
    return [...this.#members.values()].some(({ hello }) => this.#outranks(hello));
  }

  /** The host stays known, but has to get the current state before it serves again. */
  #demote(member: Member, reason: string): void {
    if (member.accepted) this.#afterLoss(member, reason);
  }

  #afterLoss(member: Member, reason: string): void {
    member.accepted = false;
    this.#electionIsDue = true;
    this.#voters.recount();
    const { peer, stage } = member;
    this.#commands.push({ kind: "left", peer, stage, reason });
    // What is being applied has been reduced: it holds this host's share, dead or not.
    if (this.phase !== "applying") this.#table.emptyAllOf(member);
    const awaited = this.#awaited.delete(peer);
    switch (this.phase) {
      case "filling":
        this.#assignGaps();
        break;
      case "fencing":
        if (awaited && this.#awaited.size === 0) this.#nextRound();
        break;
      case "preparing":
      case "reducing":
        this.#nextRound();
        break;
      case "applying":
        this.#applied.delete(peer);
        this.#checkApplied();
        break;
    }
  }

  // --- gathering ----------------------------------------------------------------------------------

  /**
   * Finds the latest step that every stage can stand at, and brings every host
   * there. Whether enough are there is asked of all; what counts is what those say
   * that have promised themselves.
   */
  #chooseCommonState(): void {
    const all = [...this.#members.values()].filter(({ promised }) => promised || !this.#campaigning);
    const { stages, floor } = this.#config;
    const offers = offersOf(stages, all);
    const hosts = new Array<number>(stages).fill(0);
    for (const { stage, hello } of all) {
      if (hello.stateHash !== null || hello.snapshots.length > 0) hosts[stage]++;
    }
    const needy = hosts.findIndex((count) => count < floor);
    if (needy >= 0) return this.#waitFor(needy, `${hosts[needy]} of ${floor} hosts are there`);
    const memories = this.#config.withoutQuorum ? new Map() : this.#memories(all);
    this.#voters.inherit(memories);
    const short = this.#voters.shortfall((peer) => memories.has(peer));
    if (short !== null) return this.#waitFor(0, short);
    const step = newestCommon(offers);
    const newest = all.reduce((most, { hello }) => Math.max(most, hello.step), this.step);
    const behind = Math.max(0, offers.findIndex((offer) => !offer.has(newest)));
    if (step === 0 && newest > 0) {
      return this.#waitFor(
        behind,
        `nobody who is there has more of it than its beginning, and step ${newest} was taken`,
      );
    }
    if (step !== undefined && step > 0 && !this.#config.resume && !this.#started) {
      return this.#giveUp(
        `Cannot start the run: its hosts already stand at step ${step}; pass --resume to go on from there`,
      );
    }
    if (!this.#campaigning) return this.#campaign();
    if (this.#finishUpdate(all)) return;
    if (step === undefined) return this.#waitFor(behind, "no step is held by a host of every stage");
    if (step < newest && !this.#mayGoBack) {
      // Whoever holds it may be cut off, and not gone.
      this.#waitFor(
        behind,
        `nobody who is there holds its state of step ${newest}, at which another stage stands`,
      );
      return this.#awaitRevival();
    }
    this.#started = true;
    this.#campaigning = this.#mayGoBack = false;
    this.#waitingFor = undefined;
    this.step = step;
    const latest = offers.map((_, stage) => latestApplied(all, stage, step));
    this.#states.begin(
      offers.map((offer, stage) => latest[stage]?.stateHash ?? mostCommon(offer.get(step)!)),
    );
    const update = latest.find((it) => it !== undefined)?.update;
    if (update !== undefined) this.#commands.push({ kind: "found", step, update });
    for (const member of all) this.#learnProof(member);
    this.#rebuild(all);
  }

  #campaign(): void {
    this.#campaigning = true;
    this.term = Math.max(this.#highestTerm, this.term) + 1;
    for (const member of this.#members.values()) {
      // What it has promised it has promised under another term.
      member.promised = false;
      this.#lead(member);
    }
    this.#commands.push({ kind: "awaitQuiet" });
  }

  /**
   * The coordinator before was lost while a step was applied: any host that has
   * taken it proves that those who hold the same total may.
   *
   * @returns whether somebody does so now; each says hello when it is done.
   */
  #finishUpdate(members: readonly Member[]): boolean {
    const able = applicable(members);
    for (const { host: { peer, hello }, update } of able) {
      this.#send(peer, { kind: "apply", term: this.term, step: hello.step, update });
    }
    return able.length > 0;
  }

  /** The table as the hosts report it. One that contradicts what others say forgets what it holds. */
  #rebuild(members: readonly Member[]): void {
    this.#table.begin(this.#config.microBatches);
    const holdings = members.filter(({ hello, stage }) =>
      hello.step === this.step && this.#states.isAt(stage, hello.stateHash) &&
      (hello.report?.held.length ?? 0) > 0
    ).map((member) => ({ member, held: pairsOf(member.hello.report!.held) }))
      .sort((a, b) => b.held.length - a.held.length);
    const kept = holdings.filter(({ member: { peer, stage, hello }, held }) => {
      const losses = new Map(hello.report!.losses.map((loss) => [loss.microBatch, loss]));
      return this.#table.takeOver({ peer, stage, held, losses });
    });
    this.round = 0;
    this.#contradictions.clear();
    this.#leftOut.clear();
    this.#awaited.clear();
    if (kept.length === 0) this.#enterBetween(null);
    else {
      // The step had begun: it goes on.
      this.phase = "filling";
      for (const { member } of kept) this.#accept(member, true);
    }
    for (const member of members) if (!member.accepted) this.#admit(member);
    if (this.phase === "filling") this.#assignGaps();
  }

  #waitFor(stage: number, reason: string): void {
    const key = `${stage} ${reason}`;
    if (this.#waitingFor === key) return;
    this.#waitingFor = key;
    this.#commands.push({ kind: "waiting", stage, reason });
  }

  // --- between steps ------------------------------------------------------------------------------

  #enterBetween(applied: AppliedStep | null): void {
    this.phase = "between";
    this.round = 0;
    this.#table.clear();
    this.#contradictions.clear();
    this.#leftOut.clear();
    this.#awaited.clear();
    this.#commands.push({ kind: "between", step: this.step, applied });
  }

  /** Waits for hosts whose transfer came too late again and again; ever more rarely for the same. */
  #hold(): void {
    if (this.step >= this.#config.steps) {
      this.phase = "done";
      this.#commands.push({ kind: "done", step: this.step });
      return;
    }
    if (this.#isOutranked()) return this.#gatherAnew();
    this.phase = "holding";
    if (this.#rebalanceDue) this.#rebalance();
    const served = new Set(this.#staying().map(({ stage }) => stage));
    const leaves = this.#accepted().some(({ hello }) => hello.leaving);
    for (const member of this.#members.values()) {
      if (member.accepted || member.hello.stage === null) continue;
      // Who is the last to have a stage's state goes when another has it.
      const inherits = leaves && !served.has(member.stage);
      if (inherits || (member.hello.missed >= 2 && this.step >= member.heldFromStep)) {
        member.holds++;
        member.heldFromStep = this.step + HOLD_STEPS_FACTOR ** member.holds;
        this.#awaited.add(member.peer);
      }
      this.#admit(member);
    }
    if (this.phase === "holding" && this.#awaited.size > 0) {
      this.#commands.push({ kind: "awaitPhase", phase: "holding", step: this.step, round: this.round });
    }
    this.#startIfNobodyIsAwaited();
  }

  #startIfNobodyIsAwaited(): void {
    if (this.phase !== "holding") return;
    for (const peer of this.#awaited) {
      const member = this.#members.get(peer);
      if (member === undefined || member.accepted) this.#awaited.delete(peer);
    }
    if (this.#awaited.size === 0) this.#startStep();
  }

  #startStep(): void {
    this.#relieveLeavers();
    this.phase = "filling";
    this.#awaited.clear();
    this.#table.begin(this.#config.microBatches);
    this.#assignGaps();
  }

  // --- a stage that has lost all its hosts --------------------------------------------------------

  /** A stage that nobody serves, and nobody can from what is there; `undefined` if there is none. */
  #lostStage(): number | undefined {
    if (this.phase !== "between" && this.phase !== "holding" && this.phase !== "filling") return undefined;
    const able = new Set<number>();
    for (const { stage, moving, accepted, hello } of this.#members.values()) {
      const wanted = this.#states.hashes[stage];
      const holds = accepted || hello.stateHash === wanted ||
        hello.snapshots.some(({ stateHash }) => stateHash === wanted);
      if (!moving && holds) able.add(stage);
    }
    const lost = this.#states.hashes.findIndex((_, stage) => !able.has(stage));
    return lost < 0 ? undefined : lost;
  }

  /** The step that the run could go back to; `undefined` if there is none. */
  #olderCommonStep(): number | undefined {
    const there = [...this.#members.values()].filter(({ promised, moving }) => promised && !moving);
    // Its beginning is what every newcomer brings: to start anew is for a person to decide.
    return newestCommon(offersOf(this.#config.stages, there)) || undefined;
  }

  #waitForLost(stage: number): void {
    this.#waitFor(
      stage,
      `its last host is gone, and nobody who is there holds its state of step ${this.step}; a host that does ` +
        "is waited for, or one with a snapshot of a step that all stages can go back to",
    );
  }

  #seekRevival(): void {
    const lost = this.#lostStage();
    if (lost === undefined) return;
    this.#waitForLost(lost);
    if (this.#olderCommonStep() !== undefined) this.#awaitRevival();
  }

  #awaitRevival(): void {
    if (this.#revivalAwaited) return;
    this.#revivalAwaited = true;
    this.#commands.push({ kind: "awaitRevival", term: this.term, step: this.step });
  }

  #revive(): void {
    if (this.phase === "gathering") {
      this.#mayGoBack = true;
      return this.#chooseCommonState();
    }
    const lost = this.#lostStage();
    const step = this.#olderCommonStep();
    if (lost === undefined || step === undefined) return;
    const reason = `its last host is gone: the run goes back from step ${this.step} to step ${step}`;
    this.#commands.push({ kind: "waiting", stage: lost, reason });
    this.#mayGoBack = true;
    this.#gatherAnew();
  }

  // --- balance ------------------------------------------------------------------------------------

  /** Sends hosts where more is to be done. Between steps they hold nothing that would have to be replayed. */
  #rebalance(): void {
    this.#rebalanceDue = false;
    const movesMax = Math.max(1, Math.floor(this.#accepted().length * MOVED_SHARE_MAX));
    for (const { peer, from, to } of planMoves(this.#balanced(), { ...this.#rules(), movesMax })) {
      const member = this.#members.get(peer)!;
      member.stage = to;
      member.moving = true;
      member.accepted = false;
      member.holds = member.heldFromStep = 0;
      this.#voters.recount();
      this.#electionIsDue = true;
      this.#send(peer, this.#placed(member));
      this.#commands.push({ kind: "moved", peer, from, to });
    }
  }

  #place(preferred: number | undefined): number {
    this.#placement ??= new Placement(this.#balanced(), this.#rules());
    return this.#placement.next(preferred);
  }

  #balanced(): BalancedHost[] {
    const { work } = this.#config.balance;
    const staying = [...this.#members.values()].filter(({ hello }) => !hello.leaving);
    return staying.map(({ peer, stage, accepted, hello }) => {
      const { movable, secondsPerMicroBatch: seconds } = hello;
      // What it measured at the stage that it comes from tells how fast it will be.
      const here = seconds === null ? undefined : seconds * work[stage] / work[hello.stage ?? stage];
      return { peer, stage, serving: accepted, movable, secondsPerMicroBatch: here };
    });
  }

  #rules(): Omit<BalanceRules, "movesMax"> {
    return { ...this.#config.balance, floor: this.#config.floor };
  }

  #placed({ stage }: Member): RemoteMessage {
    return { kind: "placed", term: this.term, stage };
  }

  // --- filling ------------------------------------------------------------------------------------

  /** Sends every incomplete micro-batch that is not under way, once all stages are served. */
  #assignGaps(): void {
    const unserved = this.hosts().indexOf(0);
    if (unserved >= 0) {
      const lost = this.#lostStage();
      if (lost !== undefined) return this.#waitForLost(lost);
      return this.#waitFor(
        unserved,
        this.#stageLeftOut() === undefined
          ? "nobody serves it"
          : "whoever could serve it was left out for now",
      );
    }
    if (this.#isOutranked()) return this.#gatherAnew();
    // What no quorum would commit need not be computed. The first of a run is settled in a moment.
    if (this.#voters.inForce.length === 0) return;
    const short = this.#lacksQuorum();
    if (short !== null) return this.#waitFor(0, short);
    this.#waitingFor = undefined;
    // Once all say what they hold, nothing is counted of it any more.
    if (this.#table.hasOrphan(this.#corpora)) return this.#prepare();
    for (const gap of this.#table.gaps()) this.#assign(gap);
    if (this.#table.isFull) this.#prepare();
  }

  #assign({ microBatch, mask, corpus }: Gap): void {
    // Whoever has the same data can replay what another has begun.
    const able = this.#feeders.filter((feeder) => feeder.corpus === (corpus ?? feeder.corpus));
    const feeder = able[microBatch % able.length];
    const { term, step, round } = this;
    const attempt = this.#table.send({ microBatch, corpus: feeder.corpus });
    const walk: Walk = { purpose: "train", term, step, round, microBatch, attempt };
    this.#commands.push({ kind: "assign", walk, mask, feeder });
  }

  get #ownFeeder(): Feeder {
    return { peer: this.#config.self, corpus: this.#config.corpus };
  }

  /** Data that can be drawn from now. */
  get #corpora(): ReadonlySet<string> {
    return new Set(this.#feeders.map(({ corpus }) => corpus));
  }

  #onAccumulated(
    peer: PeerId,
    { walk, stage, corpus, lossSum, tokens }: MessageOf<"accumulated">,
  ): void {
    const member = this.#members.get(peer);
    if (walk.term !== this.term || walk.step !== this.step) return;
    if (member?.stage !== stage || !member.accepted) return;
    const loss = lossSum === undefined || tokens === undefined ? undefined : { sum: lossSum, tokens };
    const counts = this.#table.count(peer, stage, { microBatch: walk.microBatch, corpus }, loss);
    if (counts && this.phase === "filling" && this.#table.isFull) this.#prepare();
  }

  #onWalkOver({ term, step, microBatch, attempt }: Walk, reason: string | null): void {
    if (term !== this.term || step !== this.step) return;
    if (!this.#table.endWalk(microBatch, attempt) || this.phase !== "filling") return;
    // Reports travel on other connections than the walk's end. A walk that broke is replayed at once,
    // but not for ever at once.
    if (reason === null || attempt > 3) {
      this.#commands.push({ kind: "awaitGrace", microBatch, attempt });
    } else this.#assignGaps();
  }

  #onGraceOver(microBatch: number, attempt: number): void {
    if (this.phase === "filling" && this.#table.rests(microBatch, attempt)) this.#assignGaps();
  }

  // --- prepare ------------------------------------------------------------------------------------

  #accepted(): Member[] {
    return [...this.#members.values()].filter((member) => member.accepted);
  }

  #await(phase: Phase, message: (member: Member) => RemoteMessage, members = this.#accepted()): void {
    this.phase = phase;
    this.#awaited.clear();
    for (const member of members) {
      this.#awaited.add(member.peer);
      this.#send(member.peer, message(member));
    }
    this.#commands.push({ kind: "awaitPhase", phase, step: this.step, round: this.round });
  }

  #answers(
    phase: Phase,
    peer: PeerId,
    report: { readonly term: number; readonly step: number; readonly round: number },
  ): boolean {
    return this.phase === phase && report.term === this.term && report.step === this.step &&
      report.round === this.round && this.#awaited.has(peer);
  }

  #prepare(): void {
    this.#prepared.clear();
    const { term } = this;
    this.#await("preparing", () => ({ kind: "prepare", term, step: this.step, round: this.round }));
  }

  #checkPrepared(): void {
    if (this.#awaited.size > 0) return;
    const { strayed, surplus, missing, quarrels, agrees } = takeStock(
      this.#accepted(),
      this.#prepared,
      this.#states.hashes,
      this.#table,
    );
    for (const member of strayed) {
      // Until it says otherwise, that is what it has.
      member.hello = { ...member.hello, stateHash: this.#prepared.get(member.peer)!.stateHash };
    }
    const out = new Set(
      quarrels.flatMap(({ accused, accuser }) => this.#contradict(accused, accuser, "table")),
    );
    if (agrees && this.#table.isFull) return this.#reduce();
    for (const { microBatch, stage } of missing) this.#table.empty(microBatch, stage);
    const fenced = new Set(surplus);
    for (const member of fenced) this.#table.emptyAllOf(member);
    for (const peer of this.#table.dropOrphans(this.#corpora)) fenced.add(this.#members.get(peer)!);
    const { term } = this;
    this.#await(
      "fencing",
      () => ({ kind: "fence", term, step: this.step, round: this.round }),
      [...fenced].filter(({ peer }) => !out.has(peer)),
    );
    this.#leaveOut(out, "it contradicts others, or itself, again and again");
    for (const member of strayed) this.#demote(member, "its state is not the stage's");
    if (this.phase === "fencing" && this.#awaited.size === 0) this.#nextRound();
  }

  // --- reduce -------------------------------------------------------------------------------------

  #reduce(): void {
    this.#reduced.clear();
    const replicas = Array.from({ length: this.#config.stages }, (): PeerId[] => []);
    for (const member of this.#accepted()) replicas[member.stage].push(member.peer);
    for (const peers of replicas) peers.sort();
    this.#replicas = replicas;
    const { term } = this;
    this.#await("reducing", ({ stage }) => ({
      kind: "reduce",
      term,
      step: this.step,
      round: this.round,
      replicas: replicas[stage],
    }));
  }

  #checkReduced(): void {
    if (this.#awaited.size > 0) return;
    const sum = compareSums(this.#accepted(), this.#reduced);
    if (sum.kind === "split") return this.#onSplit(sum.others);
    const { squareSum } = sum;
    // A host that was named an elector since the step was filled may be missing.
    if (this.#voters.inForce.length === 0 || this.#lacksQuorum() !== null) return this.#nextRound();
    const { sum: lossSum, tokens } = this.#table.loss();
    const learningRate = this.#config.learningRate(this.step);
    const scale = this.#config.updateScale(squareSum, tokens);
    const { term, step, round } = this;
    const update = { total: { term, round }, scale, learningRate, squareSum, lossSum, tokens };
    this.#update = update;
    this.#applied.clear();
    this.#await("applying", () => ({ kind: "apply", term, step, update }));
  }

  /** Replicas of a stage ended with another sum than most. */
  #onSplit(others: readonly PeerId[]): void {
    const out = others.flatMap((peer) => this.#contradict(peer, peer, "sum"));
    this.#leaveOut(out, "its replicas reduced to another sum again and again");
    if (this.phase === "reducing") this.#nextRound();
  }

  // --- apply --------------------------------------------------------------------------------------

  #checkApplied(): void {
    if (this.#awaited.size > 0) return;
    const votes = Array.from({ length: this.#config.stages }, () => new Map<string, number>());
    for (const { peer, stage } of this.#accepted()) {
      const { stateHash } = this.#applied.get(peer)!;
      votes[stage].set(stateHash, (votes[stage].get(stateHash) ?? 0) + 1);
    }
    const dead = votes.findIndex((vote) => vote.size === 0);
    if (dead >= 0) return this.#gatherAgain(dead, "its last host was lost while the step was applied");
    // Those who are left may be the few on one side of a cut: what they did may not be what the others do.
    const lacking = this.#lacksQuorum();
    if (lacking !== null) return this.#gatherAgain(0, lacking);
    const served = this.#table.served();
    const { replays } = this.#table;
    this.step++;
    this.#certify(votes.map(mostCommon));
    const strayed = this.#accepted().filter((it) =>
      !this.#states.isAt(it.stage, this.#applied.get(it.peer)!.stateHash)
    );
    for (const member of this.#accepted()) {
      member.hello = {
        ...member.hello,
        step: this.step,
        stateHash: this.#applied.get(member.peer)?.stateHash ?? null,
      };
    }
    this.#enterBetween({
      update: this.#update!,
      replays,
      served,
      stateHashes: this.#states.hashes,
    });
    for (const member of strayed) this.#demote(member, "its state is not the stage's");
  }

  /** Keeps what the replicas have signed, for hosts that will need the state, and tells those that asked. */
  #certify(stateHashes: readonly string[]): void {
    const applied = [...this.#applied].map(([peer, report]) => {
      return { peer, stage: this.#members.get(peer)!.stage, report };
    });
    const { term, step } = this;
    for (const { peer, stage, report } of this.#states.take(stateHashes, this.#replicas, applied)) {
      if (!report.certify) continue;
      const { stateHash } = report;
      const proof = this.#states.proofOf(stage)!;
      this.#send(peer, { kind: "certified", term, step, stateHash, proof });
    }
  }

  #learnProof({ stage, hello }: Member): void {
    if (hello.step === this.step) this.#states.learn(stage, hello);
  }

  /** Nobody can say yet whether the step was taken: everybody says again what they hold. */
  #gatherAgain(stage: number, reason: string): void {
    this.#backToGathering();
    this.#waitFor(stage, reason);
    this.#commands.push({ kind: "awaitQuiet" });
  }

  // --- what goes wrong ----------------------------------------------------------------------------

  #nextRound(): void {
    this.round++;
    this.phase = "filling";
    this.#awaited.clear();
    for (const member of this.#members.values()) {
      if (!member.accepted && member.hello.stage !== null) this.#admit(member);
    }
    if (this.phase === "filling") this.#assignGaps();
  }

  #onReduceFailed(accuser: PeerId, { term, step, round, culprit, reason }: MessageOf<"reduceFailed">): void {
    const member = this.#members.get(accuser);
    // What is being applied has been agreed on.
    const counts = term === this.term && step === this.step && round <= this.round &&
      this.phase !== "applying";
    if (!counts || !member?.accepted) return;
    const endsRound = this.phase === "reducing" && round === this.round;
    const accused = culprit === null || culprit === accuser ? undefined : this.#members.get(culprit);
    if (accused !== undefined && accused.accepted && accused.stage === member.stage) {
      // Others may be told of the next round before they can say what was wrong with this one.
      const out = this.#contradict(accused.peer, accuser, "numbers", round);
      for (const peer of out) this.#members.get(peer)!.strikes++;
      this.#leaveOut(out, reason);
    } else if (endsRound) this.#leaveOut(this.#contradict(accuser, accuser, "failure"), reason);
    if (endsRound && this.phase === "reducing" && round === this.round) this.#nextRound();
  }

  /** Once may be a mishap. @returns whom the step goes on without, now that it is too often. */
  #contradict(
    accused: PeerId,
    accuser: PeerId,
    about: keyof typeof CONTRADICTED_ROUNDS_MAX,
    round = this.round,
  ): readonly PeerId[] {
    const out = this.#contradictions.add({ accused, accuser, about, round }, CONTRADICTED_ROUNDS_MAX[about]);
    return out !== undefined && this.#members.get(out)?.accepted ? [out] : [];
  }

  /** The step goes on without them. With the next one they may join again, and have to fetch their state. */
  #leaveOut(peers: Iterable<PeerId>, reason: string): void {
    const members = [...peers].map((peer) => this.#members.get(peer)!);
    for (const { peer } of members) {
      this.#leftOut.add(peer);
      this.#send(peer, { kind: "leftOut", term: this.term, step: this.step, reason });
    }
    for (const member of members) this.#demote(member, reason);
  }

  #isLeftOut({ peer, strikes }: Member): boolean {
    return strikes >= STRIKES_MAX || this.#leftOut.has(peer);
  }

  /** A stage that nobody serves, and that somebody could who was left out; `undefined` if there is none. */
  #stageLeftOut(): number | undefined {
    if (this.phase !== "filling") return undefined;
    const hosts = this.hosts();
    return [...this.#members.values()].find((it) => hosts[it.stage] === 0 && this.#isLeftOut(it))?.stage;
  }

  /** Who was left out is better than nobody. */
  #takeBack(): void {
    const stage = this.#stageLeftOut();
    for (const member of [...this.#members.values()]) {
      if (member.stage !== stage || !this.#isLeftOut(member)) continue;
      member.strikes = 0;
      this.#leftOut.delete(member.peer);
      this.#contradictions.forget(member.peer);
      this.#admit(member);
    }
  }

  #giveUp(reason: string): void {
    this.phase = "done";
    this.#awaited.clear();
    this.#commands.push({ kind: "failed", reason });
  }

  #onPhaseTimeout({ phase, step, round }: { phase: Phase; step: number; round: number }): void {
    if (this.phase !== phase || this.step !== step || this.round !== round) return;
    if (phase === "holding") {
      this.#awaited.clear();
      return this.#startStep();
    }
    for (const peer of [...this.#awaited]) {
      // A loss may have ended the phase; the others are then judged by the next one.
      if (this.phase === phase && this.round === round) {
        this.#remove(peer, `it did not answer while ${phase}`);
      }
    }
  }

  #send(peer: PeerId, message: RemoteMessage): void {
    this.#commands.push({ kind: "send", peer, message });
  }
}
