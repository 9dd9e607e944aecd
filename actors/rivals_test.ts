/**
 * Several coordinators at once, hosts that come and go, and a network that is cut
 * and heals, without time, and trainers with data of their own that come and go:
 * whatever happens in whatever order, no step is taken twice, and each holds each
 * micro-batch once, of the same data at every stage. Then everything heals, and
 * the run must end.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { Allegiance, latestOf } from "./allegiance.ts";
import { Coordination } from "./coordination.ts";
import type { Command, CoordinationEvent, Feeder, Hello } from "./coordination_events.ts";
import { SeededEntropy } from "./core/seeded_entropy.ts";
import type { MessageOf, RemoteMessage, Walk } from "./messages.ts";

const STEPS = 5;

/** A host as far as the step protocol sees it. Its state is the history of the totals that it applied. */
interface Host {
  readonly peer: string;
  readonly stage: number;
  history: readonly string[];
  serving: boolean;
  sealedRound: number;
  /** Micro-batches in its gradient sum, with the data that they are from. */
  readonly set: Map<number, string>;
  readonly allegiance: Allegiance;
  total: { readonly term: number; readonly round: number } | null;
  applied: NonNullable<Hello["report"]>["applied"];
  alive: boolean;
  incarnation: number;
}

interface Rival {
  readonly name: string;
  coordination: Coordination;
  readonly timers: CoordinationEvent[];
  /** Far later than all other timers. */
  revival: CoordinationEvent | undefined;
  readonly walks: Walking[];
  /** Trainers that follow it. */
  others: readonly Feeder[];
}

interface Walking {
  readonly walk: Walk;
  readonly mask: readonly number[];
  readonly feeder: Feeder;
}

/** Names of data. */
const CORPORA = ["one", "another", "a third"];
const FOLLOWERS = CORPORA.flatMap((corpus) =>
  ["a", "b"].map((name) => ({ peer: `${name} with ${corpus}`, corpus }))
);

function heldOf(set: ReadonlyMap<number, string>) {
  return [...Map.groupBy(set, ([, corpus]) => corpus)].map(([corpus, pairs]) => ({
    corpus,
    microBatches: pairs.map(([microBatch]) => microBatch),
  }));
}

class World {
  readonly hosts = new Map<string, Host>();
  readonly rivals: Rival[] = [];
  /** What was sent and has not arrived, one queue a direction, oldest first. */
  readonly links = new Map<string, (() => void)[]>();
  /** Steps that somebody reported as taken, with the histories of all stages. */
  readonly reported: { readonly step: number; readonly histories: readonly string[] }[] = [];
  /** Who can't reach the others. */
  far: ReadonlySet<string> = new Set();
  /** What somebody waited for last. */
  waiting = "";
  readonly #histories = new Map<string, readonly string[]>();
  readonly #reduced = new Map<string, readonly (readonly [number, string])[]>();
  readonly #stages: number;
  readonly #microBatches: number;
  readonly #chance: SeededEntropy;

  constructor(seed: number, stages: number, replicas: number, microBatches: number, rivals: number) {
    this.#chance = new SeededEntropy(seed);
    this.#stages = stages;
    this.#microBatches = microBatches;
    for (let index = 0; index < rivals; index++) {
      const name = `coordinator-${index}`;
      this.rivals.push({
        name,
        coordination: this.#newCoordination(name),
        timers: [],
        revival: undefined,
        walks: [],
        others: [],
      });
    }
    for (let stage = 0; stage < stages; stage++) {
      for (let replica = 0; replica < replicas; replica++) this.start(`${stage}-${replica}`, stage);
    }
  }

  get done(): boolean {
    return this.rivals.some(({ coordination }) => coordination.phase === "done");
  }

  start(peer: string, stage: number): void {
    const before = this.hosts.get(peer);
    this.hosts.set(peer, {
      peer,
      stage,
      history: before?.history ?? [],
      serving: false,
      sealedRound: -1,
      set: new Map(),
      // A host holds its word across a restart; its disk kept the promise.
      allegiance: new Allegiance(1, before?.allegiance.pledge),
      total: null,
      applied: null,
      alive: true,
      incarnation: (before?.incarnation ?? 0) + 1,
    });
    this.hello(peer);
  }

  kill(peer: string): void {
    const host = this.hosts.get(peer)!;
    host.alive = false;
    for (const { name } of this.rivals) this.#breakLink(name, peer);
  }

  /** Whether the stage would still hold this host's state without it. */
  isDispensable(host: Host): boolean {
    return host.alive &&
      [...this.hosts.values()].some((other) =>
        other !== host && other.alive && other.stage === host.stage &&
        other.history.length >= host.history.length
      );
  }

  /** Cuts the network into two, or heals it. */
  cut(far: Iterable<string>): void {
    this.far = new Set(far);
    for (const { name } of this.rivals) {
      for (const peer of this.hosts.keys()) if (this.#isCut(name, peer)) this.#breakLink(name, peer);
    }
  }

  /** A host hears nothing of its coordinator for as long as the lease holds. */
  lapse(peer: string): void {
    const { allegiance } = this.hosts.get(peer)!;
    if (allegiance.pledge.leader !== null) allegiance.release(allegiance.pledge.leader, 0);
    this.hello(peer);
  }

  /** A coordinator forgets everything and begins again, as after it followed another. */
  restart(rival: Rival): void {
    for (const host of this.hosts.values()) {
      this.#send(rival.name, host.peer, () => {
        if (host.allegiance.release(rival.name, 0)) this.hello(host.peer);
      });
    }
    rival.coordination = this.#newCoordination(rival.name);
    rival.timers.length = rival.walks.length = 0;
    rival.others = [];
  }

  /** Trainers come and go. What one that goes has sent may arrive all the same. */
  follow(rival: Rival, others: readonly Feeder[]): void {
    rival.others = others;
    this.#advance(rival, { kind: "feeders", others });
    for (const { walk, feeder } of rival.walks) {
      if (feeder.peer === rival.name || others.includes(feeder)) continue;
      rival.timers.push({ kind: "walkOver", walk, reason: "its trainer was lost" });
    }
  }

  hello(peer: string): void {
    const host = this.hosts.get(peer)!;
    if (!host.alive) return;
    const last = host.stage === this.#stages - 1;
    const hello: Hello = {
      ...host.allegiance.pledge,
      latest: latestOf(host.allegiance.pledge.electorates),
      report: host.serving ? null : {
        held: heldOf(host.set),
        losses: last ? [...host.set.keys()].map((microBatch) => ({ microBatch, sum: 1, tokens: 4 })) : [],
        total: host.total,
        applied: host.applied,
        proof: null,
      },
      stage: host.stage,
      step: host.history.length,
      stateHash: this.#hashOf(host),
      // Every state that it went through is on its disk.
      snapshots: host.history.map((_, step) => ({
        step,
        stateHash: this.#hashOf({ stage: host.stage, history: host.history.slice(0, step) }),
      })).slice(-4),
      incarnation: host.incarnation,
      secondsPerMicroBatch: null,
      movable: true,
      missed: 0,
      leaving: false,
    };
    const leader = host.allegiance.leader(0);
    for (const rival of this.rivals) {
      if (leader !== undefined && leader !== rival.name) continue;
      this.#tell(rival, peer, { kind: "hello", peer, hello });
    }
  }

  /** One thing that can happen, drawn from all. @returns whether there was any. */
  happen(): boolean {
    const choices: (() => void)[] = [];
    for (const queue of this.links.values()) if (queue.length > 0) choices.push(() => queue.shift()!());
    for (const rival of this.rivals) {
      rival.timers.forEach((_, index) =>
        choices.push(() => this.#advance(rival, rival.timers.splice(index, 1)[0]))
      );
      rival.walks.forEach((_, index) => choices.push(() => this.#walk(rival, index)));
    }
    if (choices.length === 0) return false;
    choices[this.#chance.integer(choices.length)]();
    return true;
  }

  /** What everybody stands at, for whoever reads why a run did not end. */
  describe(): string {
    const { phase, step, term } = this.rivals[0].coordination;
    const hosts = [...this.hosts.values()].map(({ peer, history, serving, total, allegiance: { pledge } }) =>
      `${peer}: ${history.join(" ")}${serving ? ", serves" : ""}, total ${JSON.stringify(total)}, ` +
      `term ${pledge.term} of ${pledge.leader}, ` +
      pledge.electorates.map((it) => `${it.term}/${it.number} of ${it.electors}${it.settled ? "" : "?"}`)
        .join(
          " ",
        )
    );
    return [`${phase} at step ${step} of term ${term}: ${this.waiting}`, ...hosts].join("\n");
  }

  /** A second goes by: hosts say hello, and coordinators look around. */
  idle(): void {
    for (const { peer } of this.hosts.values()) this.hello(peer);
    for (const rival of this.rivals) this.#advance(rival, { kind: "tick" });
  }

  /** Who was waited for has not come. */
  revive(rival: Rival): void {
    const { revival } = rival;
    rival.revival = undefined;
    if (revival !== undefined) this.#advance(rival, revival);
  }

  #newCoordination(self: string): Coordination {
    return new Coordination({
      stages: this.#stages,
      microBatches: this.#microBatches,
      steps: STEPS,
      floor: 1,
      balance: { work: new Array<number>(this.#stages).fill(1), ceiling: 100, hysteresis: 0.05 },
      resume: true,
      self,
      // Each begins with data of its own.
      corpus: CORPORA[Number(self.at(-1)) % CORPORA.length],
      withoutQuorum: false,
      updateScale: (_, tokens) => 1 / tokens,
      learningRate: () => 0.1,
    });
  }

  #hashOf({ stage, history }: Pick<Host, "stage" | "history">): string {
    const hash = createHash("sha256").update(`${stage} ${history.join(" ")}`).digest("hex");
    this.#histories.set(hash, history);
    return hash;
  }

  // --- links --------------------------------------------------------------------------------------

  #isCut(one: string, other: string): boolean {
    return this.far.has(one) !== this.far.has(other);
  }

  #send(from: string, to: string, arrive: () => void): void {
    const key = `${from}>${to}`;
    const queue = this.links.get(key) ?? [];
    this.links.set(key, queue);
    if (!this.#isCut(from, to)) queue.push(arrive);
  }

  #tell(rival: Rival, peer: string, event: CoordinationEvent): void {
    this.#send(peer, rival.name, () => this.#advance(rival, event));
  }

  /** What is under way is lost, and both ends hear of that. */
  #breakLink(name: string, peer: string): void {
    this.links.delete(`${name}>${peer}`);
    const rival = this.rivals.find((rival) => rival.name === name)!;
    // What had been sent before may still arrive; then the loss does.
    const queue = this.links.get(`${peer}>${name}`) ?? [];
    this.links.set(`${peer}>${name}`, queue);
    queue.push(() => this.#advance(rival, { kind: "lost", peer, reason: "the connection broke" }));
    const host = this.hosts.get(peer)!;
    if (host.allegiance.release(name, 0)) this.hello(peer);
  }

  // --- coordinators -------------------------------------------------------------------------------

  #advance(rival: Rival, event: CoordinationEvent): void {
    const before = rival.coordination.phase;
    const commands = rival.coordination.advance(event);
    if (before !== "applying" && rival.coordination.phase === "applying") this.#checkPartition(rival);
    for (const command of commands) this.#carryOut(rival, command);
  }

  #carryOut(rival: Rival, command: Command): void {
    switch (command.kind) {
      case "send":
        return this.#send(
          rival.name,
          command.peer,
          () => this.#deliver(rival, command.peer, command.message),
        );
      case "assign":
        rival.walks.push(command);
        return;
      case "awaitQuiet":
        rival.timers.push({ kind: "gathered" });
        return;
      case "awaitGrace":
        rival.timers.push({ kind: "graceOver", microBatch: command.microBatch, attempt: command.attempt });
        return;
      case "between": {
        const histories = command.applied?.stateHashes.map((hash) => this.#histories.get(hash)!.join(" "));
        if (histories !== undefined) this.reported.push({ step: command.step, histories });
        rival.timers.push({ kind: "proceed", step: command.step });
        return;
      }
      case "awaitRevival":
        rival.revival = { ...command, kind: "revivalDue" };
        return;
      case "waiting":
        this.waiting = command.reason;
        return;
      case "failed":
        assert.fail(command.reason);
    }
  }

  /** A walk picks a host of each stage that serves this coordinator, and counts where the mask says so. */
  #walk(rival: Rival, index: number): void {
    const [{ walk, mask, feeder: { corpus } }] = rival.walks.splice(index, 1);
    const path: Host[] = [];
    for (let stage = 0; stage < this.#stages; stage++) {
      const able = [...this.hosts.values()].filter((host) =>
        host.alive && host.serving && host.stage === stage && host.history.length === walk.step &&
        host.allegiance.pledge.term === walk.term && host.allegiance.pledge.leader === rival.name
      );
      if (able.length === 0) break;
      path.push(able[this.#chance.integer(able.length)]);
    }
    const whole = path.length === this.#stages;
    // The way back may end anywhere.
    const reached = whole && this.#chance.uniform() < 0.8 ? 0 : this.#chance.integer(this.#stages);
    for (let stage = this.#stages - 1; whole && stage >= reached; stage--) {
      const host = path[stage];
      if (!mask.includes(stage) || walk.round <= host.sealedRound) continue;
      if (!host.set.has(walk.microBatch)) host.set.set(walk.microBatch, corpus);
      if (host.set.get(walk.microBatch) !== corpus) continue;
      const loss = stage === this.#stages - 1 ? { lossSum: 1, tokens: 4 } : {};
      const report = { kind: "accumulated", walk, stage, corpus, ...loss } as const;
      this.#tell(rival, host.peer, { kind: "accumulated", peer: host.peer, report });
    }
    rival.timers.push({ kind: "walkOver", walk, reason: whole && reached === 0 ? null : "it broke" });
  }

  /** What is about to be applied holds each micro-batch once at every stage, and from the same data. */
  #checkPartition({ coordination }: Rival): void {
    const { term, step, round } = coordination;
    const first: (readonly [number, string])[] = [];
    for (let stage = 0; stage < this.#stages; stage++) {
      const counted = coordination.members().filter((it) => it.stage === stage && it.accepted)
        .flatMap(({ peer }) => this.#reduced.get(`${term}/${step}/${round}/${peer}`)!)
        .sort(([a], [b]) => a - b);
      assert.deepEqual(
        counted.map(([microBatch]) => microBatch),
        Array.from({ length: this.#microBatches }, (_, index) => index),
      );
      if (stage === 0) first.push(...counted);
      assert.deepEqual(counted, first, "two stages have counted different data");
    }
  }

  // --- hosts --------------------------------------------------------------------------------------

  #deliver(rival: Rival, peer: string, message: RemoteMessage): void {
    const host = this.hosts.get(peer)!;
    if (!host.alive) return;
    if (message.kind === "lead") return this.#onLead(rival, host, message);
    if (!("term" in message) || !host.allegiance.obeys(rival.name, message.term, 0)) return;
    const { term } = message;
    const step = host.history.length;
    switch (message.kind) {
      case "restore":
        host.history = this.#histories.get(message.stateHash)!;
        host.applied = host.total = null;
        host.serving = false;
        host.set.clear();
        host.sealedRound = -1;
        return this.hello(peer);
      case "leftOut":
        if (message.step !== step) return;
        host.serving = false;
        host.set.clear();
        return;
      case "accepted":
        if (message.step !== step) return;
        host.serving = true;
        if (!message.keep) host.set.clear();
        host.sealedRound = Math.max(host.sealedRound, message.round - 1);
        return;
      case "apply":
        if (
          message.step === step && host.total?.term === message.update.total.term &&
          host.total.round === message.update.total.round
        ) this.#apply(rival, host, message);
        return;
    }
    if (!host.serving || !("round" in message) || message.step !== step) return;
    const { round } = message;
    switch (message.kind) {
      case "prepare": {
        host.sealedRound = Math.max(host.sealedRound, round);
        const stateHash = this.#hashOf(host);
        const report = {
          kind: "prepared",
          term,
          step,
          round,
          stateHash,
          held: heldOf(host.set),
        } as const;
        return this.#tell(rival, peer, { kind: "prepared", peer, report });
      }
      case "fence":
        host.sealedRound = Math.max(host.sealedRound, round);
        host.set.clear();
        host.total = null;
        return this.#tell(rival, peer, {
          kind: "fenced",
          peer,
          report: { kind: "fenced", term, step, round },
        });
      case "reduce": {
        if (host.sealedRound !== round) return;
        this.#reduced.set(`${term}/${step}/${round}/${peer}`, [...host.set]);
        host.total = { term, round };
        const hash = this.#hashOf({ stage: host.stage, history: [`${term}.${round}`] });
        const report = { kind: "reduced", term, step, round, hash, squareSum: 1 } as const;
        return this.#tell(rival, peer, { kind: "reduced", peer, report });
      }
    }
  }

  #onLead(rival: Rival, host: Host, { term, electorates }: MessageOf<"lead">): void {
    const { allegiance, peer } = host;
    const promises = !allegiance.obeys(rival.name, term, 0) && allegiance.promise(rival.name, term, 0);
    if (!promises && !allegiance.obeys(rival.name, term, 0)) {
      return this.#tell(rival, peer, { kind: "outranked", peer, term: allegiance.pledge.term });
    }
    if (promises) {
      host.serving = false;
      host.sealedRound = -1;
    }
    const news = allegiance.remember(electorates);
    if (promises || news) this.hello(peer);
  }

  #apply(rival: Rival, host: Host, { term, update }: MessageOf<"apply">): void {
    const { total } = update;
    host.history = [...host.history, `${total.term}.${total.round}`];
    host.applied = update;
    host.total = null;
    host.set.clear();
    host.sealedRound = -1;
    const report = {
      kind: "applied",
      term,
      step: host.history.length,
      stateHash: this.#hashOf(host),
      signature: "",
      certify: false,
    } as const;
    this.#tell(rival, host.peer, { kind: "applied", peer: host.peer, report });
    if (!host.serving) this.hello(host.peer);
  }
}

/**
 * No step is reported twice, and the states that a step left behind have taken
 * that many. (Two totals of one step are sums of the same micro-batches in
 * another order: a state that only the few of one side of a cut had applied may
 * be gone on from where it differs in nothing else.)
 */
function checkHistory({ reported }: World): void {
  const steps = reported.map(({ step }) => step);
  assert.equal(new Set(steps).size, steps.length, `a step was reported twice: ${steps}`);
  for (const { step, histories } of reported) {
    for (const history of histories) assert.equal(history.split(" ").length, step);
  }
}

/** Anything may fail; then nothing does any more. */
function play(seed: number, world: World, replicas: number): void {
  const chance = new SeededEntropy(`trouble ${seed}`);
  // A run begins once: until hosts vouch for its first step, nobody can tell two beginnings apart.
  const [first, ...others] = world.rivals.splice(0);
  world.rivals.push(first);
  for (const { peer } of world.hosts.values()) world.hello(peer);
  while (![...world.hosts.values()].every(({ history }) => history.length >= 1)) {
    if (!world.happen()) { for (const { peer } of world.hosts.values()) world.hello(peer); }
  }
  world.rivals.push(...others);
  const pick = <Value>(values: readonly Value[]) => values[chance.integer(values.length)];
  for (let event = 0; event < 3000 && !world.done; event++) {
    const luck = chance.uniform();
    const host = pick([...world.hosts.values()]);
    const rival = pick(world.rivals);
    if (luck < 0.004 && replicas > 1 && world.isDispensable(host)) world.kill(host.peer);
    else if (luck < 0.012 && !host.alive) world.start(host.peer, host.stage);
    else if (luck < 0.016) {
      const names = [...world.hosts.keys(), ...world.rivals.map(({ name }) => name)];
      world.cut(world.far.size > 0 ? [] : names.filter(() => chance.uniform() < 0.4));
    } else if (luck < 0.024) world.lapse(host.peer);
    else if (luck < 0.026) world.restart(rival);
    else if (luck < 0.056) world.follow(rival, FOLLOWERS.filter(() => chance.uniform() < 0.4));
    else if (luck < 0.09) world.hello(host.peer);
    else if (!world.happen()) world.idle();
  }
  checkHistory(world);
  world.cut([]);
  for (const host of [...world.hosts.values()]) if (!host.alive) world.start(host.peer, host.stage);
  // Of the coordinators one is left, and hosts come to it when they hear of no other.
  for (const rival of world.rivals.splice(1)) {
    for (const host of world.hosts.values()) {
      world.links.delete(`${rival.name}>${host.peer}`);
      world.links.delete(`${host.peer}>${rival.name}`);
      host.allegiance.release(rival.name, 0);
    }
  }
  for (let event = 1, idle = 0; event < 40_000 && !world.done; event++) {
    if (world.happen()) continue;
    if (++idle % 20 === 0) world.revive(world.rivals[0]);
    world.idle();
  }
  checkHistory(world);
  assert.ok(world.done, `the run did not end: ${world.describe()}`);
}

Deno.test("whoever coordinates, dies or is cut off, no step is taken twice, and the run ends", () => {
  let reported = 0;
  fc.assert(
    fc.property(
      fc.integer({ min: 0 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 3 }),
      (seed, stages, replicas, microBatches, rivals) => {
        const world = new World(seed, stages, replicas, microBatches, rivals);
        play(seed, world, replicas);
        reported += world.reported.length;
      },
    ),
    { numRuns: Number(Deno.env.get("MURMURATION_SEEDS") ?? 300) },
  );
  assert.ok(reported > 300, `only ${reported} steps were taken: the test proves little`);
});
