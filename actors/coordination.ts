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
 */

import type { PeerId } from "./core/actor.ts";
import type { MessageOf, RemoteMessage, Walk } from "./messages.ts";

/** What does not change in a run. */
export interface CoordinationConfig {
  readonly stages: number;
  readonly microBatches: number;
  /** Steps after which the run is done. */
  readonly steps: number;
  /** Hosts that each stage needs before the run starts. */
  readonly floor: number;
  /** Whether a run that has taken steps already may go on. */
  readonly resume: boolean;
  /** Fencing number of this coordinator; a later one has a higher number. */
  readonly term: number;
  /** Factor of the gradient sum, from the whole model's square sum and the step's tokens. */
  readonly updateScale: (squareSum: number, tokens: number) => number;
  /** Learning rate of the step that is taken when `step` steps have been taken. */
  readonly learningRate: (step: number) => number;
}

/** What a host said of itself. */
export type Hello = Omit<MessageOf<"hello">, "kind">;

/** What happens to a coordination. */
export type CoordinationEvent =
  | { readonly kind: "hello"; readonly peer: PeerId; readonly hello: Hello }
  | { readonly kind: "lost"; readonly peer: PeerId; readonly reason: string }
  | { readonly kind: "gathered" }
  | { readonly kind: "accumulated"; readonly peer: PeerId; readonly report: MessageOf<"accumulated"> }
  | { readonly kind: "walkOver"; readonly walk: Walk; readonly reason: string | null }
  | { readonly kind: "graceOver"; readonly microBatch: number; readonly attempt: number }
  | { readonly kind: "prepared"; readonly peer: PeerId; readonly report: MessageOf<"prepared"> }
  | { readonly kind: "fenced"; readonly peer: PeerId; readonly report: MessageOf<"fenced"> }
  | { readonly kind: "reduced"; readonly peer: PeerId; readonly report: MessageOf<"reduced"> }
  | { readonly kind: "reduceFailed"; readonly peer: PeerId; readonly report: MessageOf<"reduceFailed"> }
  | { readonly kind: "applied"; readonly peer: PeerId; readonly report: MessageOf<"applied"> }
  | { readonly kind: "phaseTimeout"; readonly phase: Phase; readonly step: number; readonly round: number }
  | { readonly kind: "proceed"; readonly step: number };

/** What is to be done. */
export type Command =
  | { readonly kind: "send"; readonly peer: PeerId; readonly message: RemoteMessage }
  | { readonly kind: "assign"; readonly walk: Walk; readonly mask: readonly number[] }
  /** Raise `gathered` once it has been quiet for a while. */
  | { readonly kind: "awaitQuiet" }
  /** Raise `graceOver` after a short while. */
  | { readonly kind: "awaitGrace"; readonly microBatch: number; readonly attempt: number }
  /** Raise `phaseTimeout` unless the phase is over by then. */
  | { readonly kind: "awaitPhase"; readonly phase: Phase; readonly step: number; readonly round: number }
  | { readonly kind: "waiting"; readonly stage: number; readonly reason: string }
  | { readonly kind: "joined"; readonly peer: PeerId; readonly stage: number }
  | { readonly kind: "left"; readonly peer: PeerId; readonly stage: number; readonly reason: string }
  /** The run stands at `step` and the next step may start when somebody says `proceed`. */
  | { readonly kind: "between"; readonly step: number; readonly applied: AppliedStep | null }
  | { readonly kind: "done"; readonly step: number }
  | { readonly kind: "failed"; readonly reason: string };

/** What is known of a step when every stage has taken it. */
export interface AppliedStep {
  readonly lossSum: number;
  readonly tokens: number;
  readonly squareSum: number;
  readonly learningRate: number;
  readonly replays: number;
  readonly served: Readonly<Record<PeerId, number>>;
  readonly stateHashes: readonly string[];
}

/** Where in the step the run is. */
export type Phase =
  | "gathering"
  | "between"
  | "holding"
  | "filling"
  | "fencing"
  | "preparing"
  | "reducing"
  | "applying"
  | "done";

/** Rounds of one step that may end in disagreement before the run gives up. */
const DISAGREEMENTS_MAX = 8;

interface Member {
  readonly peer: PeerId;
  readonly stage: number;
  hello: Hello;
  /** Serves: has the state of the current step and may accumulate. */
  accepted: boolean;
  /** The run has waited for it once already. */
  heldFor: boolean;
}

interface Row {
  /** Who accumulated it, by stage. */
  readonly cells: (PeerId | undefined)[];
  loss: { readonly sum: number; readonly tokens: number } | undefined;
  attempts: number;
  walking: boolean;
}

/** The coordination of one run. See the head of the file. */
export class Coordination {
  /** Steps applied so far. */
  step = 0;
  round = 0;
  phase: Phase = "gathering";

  readonly #config: CoordinationConfig;
  readonly #members = new Map<PeerId, Member>();
  /** State hash of each stage at `step`. */
  #stateHashes: string[] = [];
  #rows: Row[] = [];
  #emptyCells = 0;
  /** Whose answer the phase waits for. */
  readonly #awaited = new Set<PeerId>();
  readonly #prepared = new Map<PeerId, MessageOf<"prepared">>();
  readonly #reduced = new Map<PeerId, MessageOf<"reduced">>();
  readonly #applied = new Map<PeerId, string>();
  #disagreements = 0;
  #update = { squareSum: 0, learningRate: 0 };
  #waitingFor: number | undefined;
  /** Whether the run has been gathered before. */
  #started = false;
  #commands: Command[] = [];

  constructor(config: CoordinationConfig) {
    this.#config = config;
  }

  /** One event. @returns what is to be done, in this order. */
  advance(event: CoordinationEvent): Command[] {
    this.#commands = [];
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
        if (this.#answers("reducing", event.peer, event.report)) this.#disagree(event.report.reason);
        break;
      case "applied":
        if (
          this.phase === "applying" && event.report.step === this.step + 1 && this.#awaited.delete(event.peer)
        ) {
          this.#applied.set(event.peer, event.report.stateHash);
          this.#checkApplied();
        }
        break;
      case "phaseTimeout":
        this.#onPhaseTimeout(event);
        break;
      case "proceed":
        if (this.phase === "between" && event.step === this.step) this.#hold();
        break;
      default:
        event satisfies never;
    }
    return this.#commands;
  }

  /** Accepted hosts of each stage. */
  hosts(): number[] {
    const counts = new Array<number>(this.#config.stages).fill(0);
    for (const member of this.#members.values()) if (member.accepted) counts[member.stage]++;
    return counts;
  }

  /** Peers that have said hello, with the stage they were given. */
  members(): { peer: PeerId; stage: number; accepted: boolean }[] {
    return [...this.#members.values()].map(({ peer, stage, accepted }) => ({ peer, stage, accepted }));
  }

  // --- membership ---------------------------------------------------------------------------------

  #onHello(peer: PeerId, hello: Hello): void {
    let member = this.#members.get(peer);
    if (member !== undefined && hello.stage !== null && hello.stage !== member.stage) {
      this.#remove(peer, `it moved to stage ${hello.stage}`);
      member = undefined;
    }
    if (member === undefined) {
      const stage = hello.stage ?? this.#neediest();
      if (stage >= this.#config.stages) return;
      member = { peer, stage, hello, accepted: false, heldFor: false };
      this.#members.set(peer, member);
      if (this.phase === "gathering") this.#commands.push({ kind: "awaitQuiet" });
    }
    const changed = member.hello.step !== hello.step || member.hello.stateHash !== hello.stateHash;
    const restarted = member.hello.incarnation !== hello.incarnation;
    member.hello = hello;
    if (hello.stage === null) {
      this.#send(peer, { kind: "placed", term: this.#config.term, stage: member.stage });
      return;
    }
    if (this.phase === "gathering") {
      if (changed) this.#commands.push({ kind: "awaitQuiet" });
      return;
    }
    if (member.accepted) {
      if (!restarted) return;
      this.#demote(member, "it started again");
    }
    this.#admit(member);
  }

  /** Takes a host in if it holds the current state, or tells it where to get that. */
  #admit(member: Member): void {
    if (this.phase === "gathering" || this.phase === "done") return;
    const wanted = this.#stateHashes[member.stage];
    const { hello, peer, stage } = member;
    if (hello.step === this.step && hello.stateHash === wanted) {
      if (this.phase !== "filling" && this.phase !== "holding" && this.phase !== "between") return;
      member.accepted = true;
      this.#send(peer, { kind: "accepted", term: this.#config.term, step: this.step, round: this.round });
      this.#commands.push({ kind: "joined", peer, stage });
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
      term: this.#config.term,
      stage,
      step: this.step,
      stateHash: wanted,
      donors: donors.map((donor) => donor.peer).sort(),
    });
  }

  /** The stage with the fewest hosts; the earliest of equals. */
  #neediest(): number {
    const counts = new Array<number>(this.#config.stages).fill(0);
    for (const member of this.#members.values()) counts[member.stage]++;
    return counts.indexOf(Math.min(...counts));
  }

  #remove(peer: PeerId, reason: string): void {
    const member = this.#members.get(peer);
    if (member === undefined) return;
    this.#members.delete(peer);
    if (member.accepted) this.#afterLoss(member, reason);
    else if (this.phase === "holding") this.#startIfNobodyIsAwaited();
  }

  /** The host stays known, but has to get the current state before it serves again. */
  #demote(member: Member, reason: string): void {
    if (member.accepted) this.#afterLoss(member, reason);
  }

  #afterLoss(member: Member, reason: string): void {
    member.accepted = false;
    const { peer, stage } = member;
    this.#commands.push({ kind: "left", peer, stage, reason });
    // What is being applied has been reduced: it holds this host's share, dead or not.
    if (this.phase !== "applying") {
      for (const row of this.#rows) if (row.cells[stage] === peer) this.#empty(row, stage);
    }
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

  /** Finds the latest step that every stage can stand at, and brings every host there. */
  #chooseCommonState(): void {
    const { stages, floor } = this.#config;
    const offers: Map<number, Map<string, number>>[] = Array.from({ length: stages }, () => new Map());
    const hosts = new Array<number>(stages).fill(0);
    for (const { stage, hello } of this.#members.values()) {
      const states = [...hello.snapshots];
      if (hello.stateHash !== null) states.push({ step: hello.step, stateHash: hello.stateHash });
      if (states.length > 0) hosts[stage]++;
      for (const { step, stateHash } of states) {
        const hashes = offers[stage].get(step) ?? new Map<string, number>();
        hashes.set(stateHash, (hashes.get(stateHash) ?? 0) + 1);
        offers[stage].set(step, hashes);
      }
    }
    const needy = hosts.findIndex((count) => count < floor);
    if (needy >= 0) return this.#waitFor(needy, `${hosts[needy]} of ${floor} hosts are there`);
    const common = [...offers[0].keys()].filter((step) => offers.every((offer) => offer.has(step)));
    if (common.length === 0) return this.#waitFor(0, "no step is held by a host of every stage");
    const step = Math.max(...common);
    if (step > 0 && !this.#config.resume && !this.#started) {
      return this.#giveUp(
        `Cannot start the run: its hosts already stand at step ${step}; pass --resume to go on from there`,
      );
    }
    this.#started = true;
    this.step = step;
    this.#stateHashes = offers.map((offer) => mostCommon(offer.get(this.step)!));
    this.#enterBetween(null);
    for (const member of this.#members.values()) this.#admit(member);
  }

  #waitFor(stage: number, reason: string): void {
    if (this.#waitingFor === stage) return;
    this.#waitingFor = stage;
    this.#commands.push({ kind: "waiting", stage, reason });
  }

  // --- between steps ------------------------------------------------------------------------------

  #enterBetween(applied: AppliedStep | null): void {
    this.phase = "between";
    this.round = 0;
    this.#rows = [];
    this.#emptyCells = 0;
    this.#disagreements = 0;
    this.#awaited.clear();
    this.#commands.push({ kind: "between", step: this.step, applied });
  }

  /** Waits, once, for hosts whose transfer came too late again and again. */
  #hold(): void {
    if (this.step >= this.#config.steps) {
      this.phase = "done";
      this.#commands.push({ kind: "done", step: this.step });
      return;
    }
    this.phase = "holding";
    for (const member of this.#members.values()) {
      if (member.accepted || member.hello.stage === null) continue;
      if (member.hello.missed >= 2 && !member.heldFor) {
        member.heldFor = true;
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
    const { stages, microBatches } = this.#config;
    this.phase = "filling";
    this.#awaited.clear();
    this.#emptyCells = stages * microBatches;
    this.#rows = Array.from({ length: microBatches }, () => ({
      cells: new Array<PeerId | undefined>(stages).fill(undefined),
      loss: undefined,
      attempts: 0,
      walking: false,
    }));
    this.#assignGaps();
  }

  // --- filling ------------------------------------------------------------------------------------

  /** Sends every incomplete micro-batch that is not under way, once all stages are served. */
  #assignGaps(): void {
    const unserved = this.hosts().indexOf(0);
    if (unserved >= 0) return this.#waitFor(unserved, "nobody serves it");
    this.#waitingFor = undefined;
    this.#rows.forEach((row, microBatch) => {
      if (!row.walking) this.#assign(row, microBatch);
    });
    if (this.#emptyCells === 0) this.#prepare();
  }

  #assign(row: Row, microBatch: number): void {
    const mask = row.cells.flatMap((cell, stage) => cell === undefined ? [stage] : []);
    if (mask.length === 0) return;
    row.attempts++;
    row.walking = true;
    const walk: Walk = {
      purpose: "train",
      step: this.step,
      round: this.round,
      microBatch,
      attempt: row.attempts,
    };
    this.#commands.push({ kind: "assign", walk, mask });
  }

  #empty(row: Row, stage: number): void {
    row.cells[stage] = undefined;
    this.#emptyCells++;
    if (stage === this.#config.stages - 1) row.loss = undefined;
  }

  #onAccumulated(peer: PeerId, { walk, stage, lossSum, tokens }: MessageOf<"accumulated">): void {
    const member = this.#members.get(peer);
    const row = this.#rows[walk.microBatch];
    if (walk.step !== this.step || row === undefined || member?.stage !== stage || !member.accepted) return;
    // The first report wins. A second host that counted the same is found out in Prepare.
    if (row.cells[stage] !== undefined) return;
    if (stage === this.#config.stages - 1) {
      if (lossSum === undefined || tokens === undefined) return;
      row.loss = { sum: lossSum, tokens };
    }
    row.cells[stage] = peer;
    this.#emptyCells--;
    if (this.phase === "filling" && this.#emptyCells === 0) this.#prepare();
  }

  #onWalkOver(walk: Walk, reason: string | null): void {
    const row = this.#rows[walk.microBatch];
    if (walk.step !== this.step || row === undefined || walk.attempt !== row.attempts) return;
    row.walking = false;
    if (this.phase !== "filling" || row.cells.every((cell) => cell !== undefined)) return;
    // Reports travel on other connections than the walk's end. A walk that broke is replayed at once,
    // but not for ever at once.
    if (reason === null || row.attempts > 3) {
      this.#commands.push({ kind: "awaitGrace", microBatch: walk.microBatch, attempt: walk.attempt });
    } else this.#assignGaps();
  }

  #onGraceOver(microBatch: number, attempt: number): void {
    const row = this.#rows[microBatch];
    if (this.phase === "filling" && row?.attempts === attempt && !row.walking) this.#assignGaps();
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

  #answers(phase: Phase, peer: PeerId, report: { readonly step: number; readonly round: number }): boolean {
    return this.phase === phase && report.step === this.step && report.round === this.round &&
      this.#awaited.has(peer);
  }

  #prepare(): void {
    this.#prepared.clear();
    const { term } = this.#config;
    this.#await("preparing", () => ({ kind: "prepare", term, step: this.step, round: this.round }));
  }

  #checkPrepared(): void {
    if (this.#awaited.size > 0) return;
    const expected = new Map<PeerId, Set<number>>();
    this.#rows.forEach((row, microBatch) => {
      for (const peer of row.cells) {
        if (!expected.has(peer!)) expected.set(peer!, new Set());
        expected.get(peer!)!.add(microBatch);
      }
    });
    const fenced: Member[] = [];
    const strayed: Member[] = [];
    let agreed = true;
    for (const member of this.#accepted()) {
      const said = this.#prepared.get(member.peer)!;
      const table = expected.get(member.peer) ?? new Set<number>();
      if (said.stateHash !== this.#stateHashes[member.stage]) {
        strayed.push(member);
        continue;
      }
      const held = new Set(said.microBatches);
      if (said.microBatches.some((microBatch) => !table.has(microBatch))) {
        fenced.push(member);
        continue;
      }
      for (const microBatch of table) {
        if (held.has(microBatch)) continue;
        this.#empty(this.#rows[microBatch], member.stage);
        agreed = false;
      }
    }
    if (agreed && fenced.length === 0 && strayed.length === 0) return this.#reduce();
    if (++this.#disagreements > DISAGREEMENTS_MAX) {
      return this.#giveUp(this.#tooOften("hosts and table disagree"));
    }
    for (const member of fenced) {
      for (const row of this.#rows) {
        if (row.cells[member.stage] === member.peer) this.#empty(row, member.stage);
      }
    }
    const { term } = this.#config;
    this.#await("fencing", () => ({ kind: "fence", term, step: this.step, round: this.round }), fenced);
    for (const member of strayed) this.#demote(member, "its state is not the stage's");
    if (this.phase === "fencing" && this.#awaited.size === 0) this.#nextRound();
  }

  // --- reduce -------------------------------------------------------------------------------------

  #reduce(): void {
    this.#reduced.clear();
    const replicas = Array.from({ length: this.#config.stages }, (): PeerId[] => []);
    for (const member of this.#accepted()) replicas[member.stage].push(member.peer);
    for (const peers of replicas) peers.sort();
    const { term } = this.#config;
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
    const byStage = new Map<number, MessageOf<"reduced">>();
    for (const member of this.#accepted()) {
      const report = this.#reduced.get(member.peer)!;
      const first = byStage.get(member.stage) ?? report;
      if (first.hash !== report.hash || first.squareSum !== report.squareSum) {
        return this.#disagree(`replicas of stage ${member.stage} reduced to different sums`);
      }
      byStage.set(member.stage, first);
    }
    const squareSum = [...byStage.entries()].sort(([a], [b]) => a - b).reduce(
      (sum, [, it]) => sum + it.squareSum,
      0,
    );
    const tokens = this.#rows.reduce((sum, row) => sum + row.loss!.tokens, 0);
    const learningRate = this.#config.learningRate(this.step);
    const scale = this.#config.updateScale(squareSum, tokens);
    this.#update = { squareSum, learningRate };
    this.#applied.clear();
    const { term } = this.#config;
    this.#await("applying", () => ({
      kind: "apply",
      term,
      step: this.step,
      round: this.round,
      scale,
      learningRate,
    }));
  }

  // --- apply --------------------------------------------------------------------------------------

  #checkApplied(): void {
    if (this.#awaited.size > 0) return;
    const votes = Array.from({ length: this.#config.stages }, () => new Map<string, number>());
    for (const [peer, stateHash] of this.#applied) {
      const { stage } = this.#members.get(peer)!;
      votes[stage].set(stateHash, (votes[stage].get(stateHash) ?? 0) + 1);
    }
    const lossSum = this.#rows.reduce((sum, row) => sum + (row.loss?.sum ?? 0), 0);
    const tokens = this.#rows.reduce((sum, row) => sum + (row.loss?.tokens ?? 0), 0);
    const served: Record<PeerId, number> = {};
    for (const row of this.#rows) {
      for (const peer of row.cells) if (peer !== undefined) served[peer] = (served[peer] ?? 0) + 1;
    }
    const replays = this.#rows.reduce((sum, row) => sum + Math.max(0, row.attempts - 1), 0);
    const dead = votes.findIndex((vote) => vote.size === 0);
    if (dead >= 0) return this.#gatherAgain(dead);
    this.step++;
    this.#stateHashes = votes.map(mostCommon);
    const strayed = this.#accepted().filter((it) =>
      this.#applied.get(it.peer) !== this.#stateHashes[it.stage]
    );
    for (const member of this.#accepted()) {
      member.hello = { ...member.hello, step: this.step, stateHash: this.#applied.get(member.peer) ?? null };
    }
    this.#enterBetween({
      lossSum,
      tokens,
      ...this.#update,
      replays,
      served,
      stateHashes: this.#stateHashes,
    });
    for (const member of strayed) this.#demote(member, "its state is not the stage's");
  }

  /** A stage lost its last host while steps were taken: everybody says again what they hold. */
  #gatherAgain(stage: number): void {
    for (const member of this.#members.values()) member.accepted = false;
    this.#awaited.clear();
    this.phase = "gathering";
    this.#rows = [];
    this.#emptyCells = 0;
    this.#waitFor(stage, "its last host was lost while the step was applied");
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

  #disagree(reason: string): void {
    if (++this.#disagreements > DISAGREEMENTS_MAX) this.#giveUp(this.#tooOften(reason));
    else this.#nextRound();
  }

  #tooOften(reason: string): string {
    return `Cannot take step ${this.step + 1}: ${reason}, ${DISAGREEMENTS_MAX + 1} times in a row`;
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

/** The key with the highest count; of equals the one that sorts first. */
function mostCommon(counts: ReadonlyMap<string, number>): string {
  return [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))[0][0];
}
