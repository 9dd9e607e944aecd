import assert from "node:assert/strict";
import fc from "fast-check";
import { Allegiance, latestOf } from "./allegiance.ts";
import { Coordination } from "./coordination.ts";
import type { Command, CoordinationEvent, Hello } from "./coordination_events.ts";
import type { MessageOf, RemoteMessage, Update, Walk } from "./messages.ts";

/** Stand-in for a state hash: 64 hex digits from a number. */
function hashOf(value: number): string {
  return value.toString(16).padStart(64, "0");
}

/** The data that all trainers have. */
const CORPUS = hashOf(0);

/** What a host with these in its gradient sum says. */
function heldOf(microBatches: Iterable<number>) {
  const held = [...microBatches];
  return held.length === 0 ? [] : [{ corpus: CORPUS, microBatches: held }];
}

/** State of a stage after so many steps, as every honest host computes it. */
function stateAfter(stage: number, step: number): string {
  return hashOf(1 + stage * 1_000_000 + step);
}

/** Of stages of equal work. */
function balanceOf(stages: number) {
  return { work: new Array<number>(stages).fill(1), ceiling: 100, hysteresis: 0.05 };
}

/** What a host says of its promises before it has made any. */
const NO_PROMISE = {
  term: 0,
  leader: null,
  latest: null,
  electorates: [],
  report: { held: [], losses: [], total: null, applied: null, proof: null },
} as const;

interface ModelHost {
  readonly peer: string;
  stage: number;
  step: number;
  accepted: boolean;
  sealedRound: number;
  set: Set<number>;
  /** Follows the coordinator until the model says that its lease is over. */
  readonly allegiance: Allegiance;
  /** What it could still apply, and what it has applied last. */
  total: { readonly term: number; readonly round: number } | null;
  applied: Update | null;
  alive: boolean;
  incarnation: number;
}

/**
 * A world without time: hosts that do what `host.ts` does, links that deliver in
 * order but at any moment, and a checker of what is applied.
 */
class Model {
  readonly hosts = new Map<string, ModelHost>();
  readonly coordination: Coordination;
  /** Undelivered events towards the coordinator, and messages towards hosts, one queue a link. */
  readonly inbound = new Map<string, CoordinationEvent[]>();
  readonly outbound = new Map<string, RemoteMessage[]>();
  readonly timers: CoordinationEvent[] = [];
  readonly walks: { readonly walk: Walk; readonly mask: readonly number[]; stage: number; path: string[] }[] =
    [];
  readonly appliedSteps: number[] = [];
  /** What each host's gradient sum held when it was reduced. */
  readonly reducedSets = new Map<string, readonly number[]>();
  done = false;
  moves = 0;
  /** Most rounds that a step took. */
  rounds = 0;
  /** Changes what a host says, if it lies. */
  lie: (event: CoordinationEvent) => CoordinationEvent = (event) => event;
  liar: string | undefined;
  /** Who was told to take no part in which step any more. */
  readonly leftOut: string[] = [];
  /** Who was told to fetch another state. */
  readonly restored: string[] = [];
  failed: string | undefined;
  readonly #stages: number;
  readonly #microBatches: number;

  constructor(stages: number, replicas: number, microBatches: number, steps: number) {
    this.#stages = stages;
    this.#microBatches = microBatches;
    this.coordination = new Coordination({
      stages,
      microBatches,
      steps,
      floor: 1,
      balance: balanceOf(stages),
      resume: true,
      self: "coordinator",
      corpus: CORPUS,
      withoutQuorum: false,
      updateScale: (_, tokens) => 1 / tokens,
      learningRate: () => 0.1,
    });
    for (let stage = 0; stage < stages; stage++) {
      for (let replica = 0; replica < replicas; replica++) this.start(`${stage}-${replica}`, stage, 0);
    }
  }

  start(peer: string, stage: number, step: number): void {
    const incarnation = (this.hosts.get(peer)?.incarnation ?? 0) + 1;
    this.hosts.set(peer, {
      peer,
      stage,
      step,
      accepted: false,
      sealedRound: -1,
      set: new Set(),
      allegiance: new Allegiance(1, this.hosts.get(peer)?.allegiance.pledge),
      total: null,
      applied: null,
      alive: true,
      incarnation,
    });
    this.hello(peer);
  }

  hello(peer: string): void {
    const { stage, step, incarnation, allegiance, accepted, set, total, applied } = this.hosts.get(peer)!;
    const losses = stage === this.#stages - 1
      ? [...set].map((microBatch) => ({ microBatch, sum: 1, tokens: 4 }))
      : [];
    const hello: Hello = {
      ...allegiance.pledge,
      latest: latestOf(allegiance.pledge.electorates),
      report: accepted ? null : { held: heldOf(set), losses, total, applied, proof: null },
      stage,
      step,
      stateHash: stateAfter(stage, step),
      snapshots: [],
      incarnation,
      secondsPerMicroBatch: null,
      movable: true,
      missed: 0,
      leaving: false,
    };
    this.toCoordinator(peer, { kind: "hello", peer, hello });
  }

  toCoordinator(peer: string, event: CoordinationEvent): void {
    if (!this.inbound.has(peer)) this.inbound.set(peer, []);
    this.inbound.get(peer)!.push(peer === this.liar ? this.lie(event) : event);
  }

  kill(peer: string): void {
    const host = this.hosts.get(peer)!;
    if (!host.alive) return;
    host.alive = false;
    // What it had sent may still arrive; then the loss does.
    this.outbound.delete(peer);
    this.toCoordinator(peer, { kind: "lost", peer, reason: "killed" });
  }

  /** Brings a dead host back, empty: it has to fetch the state of its stage. */
  revive(peer: string): void {
    const host = this.hosts.get(peer)!;
    if (!host.alive) this.start(peer, host.stage, 0);
  }

  advance(event: CoordinationEvent): void {
    for (const command of this.coordination.advance(event)) this.carryOut(command);
    this.rounds = Math.max(this.rounds, this.coordination.round);
  }

  carryOut(command: Command): void {
    switch (command.kind) {
      case "send":
        if (!this.hosts.get(command.peer)?.alive) return;
        if (!this.outbound.has(command.peer)) this.outbound.set(command.peer, []);
        this.outbound.get(command.peer)!.push(command.message);
        return;
      case "assign":
        this.walks.push({ walk: command.walk, mask: command.mask, stage: 0, path: [] });
        return;
      case "awaitQuiet":
        this.timers.push({ kind: "gathered" });
        return;
      case "awaitGrace":
        this.timers.push({ kind: "graceOver", microBatch: command.microBatch, attempt: command.attempt });
        return;
      case "between":
        if (command.applied !== null) this.appliedSteps.push(command.step);
        this.timers.push({ kind: "proceed", step: command.step });
        return;
      case "moved":
        this.moves++;
        return;
      case "done":
        this.done = true;
        return;
      case "failed":
        this.failed = command.reason;
    }
  }

  /** What can happen next, in a fixed order, so that a choice of numbers replays a run. */
  choices(): (() => void)[] {
    const choices: (() => void)[] = [];
    for (const [peer, events] of this.inbound) {
      if (events.length > 0) choices.push(() => this.advance(this.inbound.get(peer)!.shift()!));
    }
    for (const [peer, messages] of this.outbound) {
      if (messages.length > 0) choices.push(() => this.deliver(peer, this.outbound.get(peer)!.shift()!));
    }
    this.timers.forEach((_, index) => choices.push(() => this.advance(this.timers.splice(index, 1)[0])));
    this.walks.forEach((_, index) => choices.push(() => this.walk(index)));
    return choices;
  }

  /** A walk goes one hop on; at its end the way back accumulates at every stage of the mask. */
  walk(index: number): void {
    const { walk, mask, stage, path } = this.walks[index];
    const able = [...this.hosts.values()].filter((it) =>
      it.alive && it.accepted && it.stage === stage && it.step === walk.step
    );
    const over = (reason: string | null) => {
      this.walks.splice(index, 1);
      this.toCoordinator("trainer", { kind: "walkOver", walk, reason });
    };
    if (stage < this.#stages) {
      if (able.length === 0) return over("nobody serves the stage");
      path.push(able[(walk.microBatch + walk.attempt) % able.length].peer);
      this.walks[index].stage++;
      return;
    }
    for (let at = this.#stages - 1; at >= 0; at--) {
      const host = this.hosts.get(path[at])!;
      if (!host.alive || host.step !== walk.step) return over("the way back is broken");
      if (!mask.includes(at)) continue;
      const { term } = host.allegiance.pledge;
      if (walk.term === term && walk.round > host.sealedRound && host.accepted) host.set.add(walk.microBatch);
      if (!host.set.has(walk.microBatch)) continue;
      const loss = at === this.#stages - 1 ? { lossSum: 1, tokens: 4 } : {};
      this.toCoordinator(host.peer, {
        kind: "accumulated",
        peer: host.peer,
        report: { kind: "accumulated", walk, stage: at, corpus: CORPUS, ...loss },
      });
    }
    over(null);
  }

  deliver(peer: string, message: RemoteMessage): void {
    const host = this.hosts.get(peer)!;
    if (!host.alive) return;
    const answer = (event: CoordinationEvent) => this.toCoordinator(peer, event);
    switch (message.kind) {
      case "placed":
        if (message.stage === host.stage || !host.allegiance.obeys("coordinator", message.term, 0)) return;
        host.stage = message.stage;
        host.step = 0;
        host.set.clear();
        host.accepted = false;
        host.sealedRound = -1;
        host.applied = host.total = null;
        return this.hello(peer);
      case "lead":
        if (!host.allegiance.obeys("coordinator", message.term, 0)) {
          if (!host.allegiance.promise("coordinator", message.term, 0)) {
            const { term } = host.allegiance.pledge;
            return answer({ kind: "outranked", peer, term });
          }
          host.accepted = false;
          host.sealedRound = -1;
          this.hello(peer);
        }
        if (host.allegiance.remember(message.electorates)) this.hello(peer);
        return;
      case "restore":
        this.restored.push(peer);
        host.applied = host.total = null;
        host.step = message.step;
        host.set.clear();
        host.accepted = false;
        return this.hello(peer);
      case "accepted":
        if (message.step !== host.step) return;
        host.accepted = true;
        if (!message.keep) host.set.clear();
        host.sealedRound = Math.max(host.sealedRound, message.round - 1);
        return;
      case "leftOut":
        this.leftOut.push(`${peer} of step ${message.step}`);
        if (message.step !== host.step) return;
        host.accepted = false;
        host.set.clear();
        return;
      case "prepare": {
        if (message.step !== host.step || !host.accepted) return;
        host.sealedRound = message.round;
        const report = {
          kind: "prepared",
          term: message.term,
          step: host.step,
          round: message.round,
          stateHash: stateAfter(host.stage, host.step),
          held: heldOf(host.set),
        } as const;
        return answer({ kind: "prepared", peer, report });
      }
      case "fence":
        if (message.step !== host.step || !host.accepted) return;
        host.sealedRound = message.round;
        host.set.clear();
        return answer({
          kind: "fenced",
          peer,
          report: { kind: "fenced", term: message.term, step: host.step, round: message.round },
        });
      case "reduce": {
        // A host that started again in between has sealed nothing, and stays silent.
        if (message.step !== host.step || !host.accepted || host.sealedRound !== message.round) return;
        this.reducedSets.set(`${message.step}/${message.round}/${peer}`, [...host.set]);
        host.total = { term: message.term, round: message.round };
        const report = {
          kind: "reduced",
          term: message.term,
          step: message.step,
          round: message.round,
          hash: hashOf(7),
          squareSum: 1,
        } as const;
        return answer({ kind: "reduced", peer, report });
      }
      case "apply":
        if (
          message.step === host.step && host.total?.term === message.update.total.term &&
          host.total.round === message.update.total.round
        ) this.apply(host, message);
    }
  }

  apply(host: ModelHost, { term, update }: MessageOf<"apply">): void {
    host.total = null;
    host.applied = update;
    host.step++;
    host.set.clear();
    host.sealedRound = -1;
    this.toCoordinator(host.peer, {
      kind: "applied",
      peer: host.peer,
      report: {
        kind: "applied",
        term,
        step: host.step,
        stateHash: stateAfter(host.stage, host.step),
        signature: "00",
        certify: false,
      },
    });
    if (!host.accepted) this.hello(host.peer);
  }

  /** The promise, when `apply` goes out: what was reduced holds each micro-batch once at every stage. */
  checkPartition(): void {
    const { step, round } = this.coordination;
    for (let stage = 0; stage < this.#stages; stage++) {
      const counted: number[] = [];
      for (const member of this.coordination.members()) {
        if (member.stage !== stage || !member.accepted) continue;
        // Nobody can tell what a host has counted that lies of that.
        if (member.peer === this.liar) return;
        counted.push(...this.reducedSets.get(`${step}/${round}/${member.peer}`)!);
      }
      counted.sort((a, b) => a - b);
      assert.deepEqual(
        counted,
        Array.from({ length: this.#microBatches }, (_, index) => index),
        `stage ${stage}`,
      );
    }
  }
}

/** Runs a model with choices drawn from `draw`, killing and reviving by `churn`. */
function run(model: Model, draw: () => number, events: number, churn: boolean): void {
  const peers = [...model.hosts.keys()];
  for (let event = 0; event < events && !model.done; event++) {
    const before = model.coordination.phase;
    const luck = draw();
    if (churn && luck < 0.01) {
      const peer = peers[Math.floor(draw() * peers.length)];
      const { stage } = model.hosts.get(peer)!;
      const others = [...model.hosts.values()].some((it) =>
        it.alive && it.accepted && it.stage === stage && it.peer !== peer
      );
      if (others) model.kill(peer);
      else model.revive(peer);
    } else if (churn && luck < 0.03) {
      model.revive(peers[Math.floor(draw() * peers.length)]);
    } else if (churn && luck < 0.035) {
      model.advance({ kind: "rebalance" });
    } else if (luck < 0.05) {
      const peer = peers[Math.floor(draw() * peers.length)];
      if (model.hosts.get(peer)!.alive) model.hello(peer);
    } else {
      const choices = model.choices();
      if (choices.length === 0) {
        for (const host of model.hosts.values()) if (host.alive) model.hello(host.peer);
        model.advance({ kind: "tick" });
        continue;
      }
      choices[Math.floor(draw() * choices.length)]();
    }
    const after = model.coordination.phase;
    if (before !== "applying" && after === "applying") model.checkPartition();
  }
}

/** Mulberry32 (Tommy Ettinger, public domain): enough for drawing test cases. */
function draws(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

Deno.test("a calm run takes every step once", () => {
  const model = new Model(3, 2, 4, 5);
  run(model, draws(1), 100_000, false);
  assert.equal(model.failed, undefined);
  assert.ok(model.done);
  assert.deepEqual(model.appliedSteps, [1, 2, 3, 4, 5]);
});

Deno.test("whatever the order of events, whoever dies and whoever moves, what is reduced holds each micro-batch once", () => {
  let applied = 0;
  let moves = 0;
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 0, max: 3 }),
      (seed, stages, batch, more) => {
        const model = new Model(stages, 2, batch, 6);
        for (let extra = 0; extra < more; extra++) model.start(`0-more-${extra}`, 0, 0);
        run(model, draws(seed), 4_000, true);
        assert.equal(model.failed, undefined);
        applied += model.appliedSteps.length;
        moves += model.moves;
        // One that was taken when too many had died to say so is not reported, and not taken again.
        assert.deepEqual([...new Set(model.appliedSteps)].sort((a, b) => a - b), model.appliedSteps);
      },
    ),
    { numRuns: 300 },
  );
  assert.ok(applied > 300, `only ${applied} steps were applied: the test proves little`);
  assert.ok(moves > 50, `only ${moves} hosts were moved`);
});

/** Says of every report now and then what is not so. */
function liesOf(model: Model, stage: number, draw: () => number): Model["lie"] {
  const any = (count: number) => Math.floor(draw() * count);
  const some = () => [0, 1, 2, 3, 4, 1000].filter(() => draw() < 0.5);
  return (event) => {
    if (draw() < 0.3) return event;
    switch (event.kind) {
      case "accumulated": {
        const { report } = event;
        return { ...event, report: { ...report, walk: { ...report.walk, microBatch: any(6) } } };
      }
      case "prepared": {
        const { report } = event;
        const stateHash = draw() < 0.3 ? hashOf(99) : report.stateHash;
        return { ...event, report: { ...report, stateHash, held: heldOf(some()) } };
      }
      case "reduced": {
        const { peer, report: { term, step, round, hash } } = event;
        if (draw() < 0.3) return { kind: "reduced", peer, report: { ...event.report, squareSum: 2, hash } };
        const others = [...model.hosts.values()].filter((it) => it.stage === stage && it.peer !== peer);
        const culprit = draw() < 0.3 ? null : others[any(others.length)].peer;
        const report = { kind: "reduceFailed", term, step, round, culprit, reason: "not finite" } as const;
        return { kind: "reduceFailed", peer, report };
      }
      default:
        return event;
    }
  };
}

Deno.test("whatever one host says, the run goes on, and no step takes many rounds", () => {
  let rounds = 0;
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 2, max: 4 }),
      fc.integer({ min: 1, max: 5 }),
      (seed, stages, replicas, batch) => {
        const model = new Model(stages, replicas, batch, 5);
        const stage = stages - 1;
        model.liar = `${stage}-${replicas - 1}`;
        model.lie = liesOf(model, stage, draws(seed + 1));
        run(model, draws(seed), 40_000, false);
        assert.equal(model.failed, undefined);
        assert.ok(model.done, `it stands at step ${model.coordination.step}, ${model.coordination.phase}`);
        assert.ok(model.rounds < 64, `a step took ${model.rounds} rounds`);
        rounds = Math.max(rounds, model.rounds);
      },
    ),
    { numRuns: 300 },
  );
  assert.ok(rounds > 3, "nobody was contradicted: the test proves nothing");
});

Deno.test("a host that claims what others hold is left out of the step, and takes part in the next", () => {
  const model = new Model(2, 2, 4, 5);
  model.liar = "1-1";
  model.lie = (event) =>
    event.kind === "prepared" && event.report.step === 1
      ? { ...event, report: { ...event.report, held: heldOf([0, 1, 2, 3]) } }
      : event;
  const served = new Set<number>();
  const { advance } = model;
  model.advance = (event) => {
    if (event.kind === "prepared" && event.peer === "1-1") served.add(event.report.step);
    advance.call(model, event);
  };
  run(model, draws(3), 100_000, false);
  assert.equal(model.failed, undefined);
  assert.ok(model.done);
  assert.deepEqual(model.leftOut.filter((it) => it.startsWith("1-")), ["1-1 of step 1"]);
  assert.deepEqual([...served].filter((step) => step > 1), [2, 3, 4]);
});

Deno.test("a stage that has nobody else takes back whom it has left out", () => {
  const model = new Model(2, 1, 4, 2);
  model.liar = "1-0";
  let lies = 3;
  model.lie = (event) =>
    event.kind === "prepared" && lies-- > 0 ? { ...event, report: { ...event.report, held: [] } } : event;
  run(model, draws(4), 100_000, false);
  assert.deepEqual(model.leftOut.filter((it) => it.endsWith("step 0")), ["1-0 of step 0"]);
  assert.deepEqual([model.failed, model.done], [undefined, true]);
});

Deno.test("of two replicas that differ after a step the one is believed that has been there longer", () => {
  const model = new Model(2, 2, 4, 5);
  model.liar = "1-1";
  // Whatever hash it names: it may choose one that sorts first.
  model.lie = (event) =>
    event.kind === "applied" && event.report.step === 2
      ? { ...event, report: { ...event.report, stateHash: hashOf(0) } }
      : event;
  while (model.coordination.phase !== "filling") model.choices()[0]();
  run(model, draws(5), 100_000, false);
  assert.deepEqual([model.failed, model.done], [undefined, true]);
  assert.ok(model.restored.includes("1-1"));
  assert.ok(!model.restored.includes("1-0"));
});

Deno.test("reports of strangers, of other stages and of other steps change nothing", () => {
  const model = new Model(2, 1, 2, 3);
  while (model.coordination.phase !== "filling") model.choices()[0]();
  const walk: Walk = {
    purpose: "train",
    term: model.coordination.term,
    step: 0,
    round: 0,
    microBatch: 0,
    attempt: 1,
  };
  const report = (peer: string, change: object) =>
    model.coordination.advance({
      kind: "accumulated",
      peer,
      report: { kind: "accumulated", walk, stage: 1, corpus: CORPUS, lossSum: 1, tokens: 4, ...change },
    });
  for (let again = 0; again < 3; again++) {
    assert.deepEqual(report("stranger", {}), []);
    assert.deepEqual(report("0-0", {}), []);
    assert.deepEqual(report("1-0", { walk: { ...walk, step: 7 } }), []);
    assert.deepEqual(report("1-0", { walk: { ...walk, term: 7 } }), []);
    assert.deepEqual(report("1-0", { walk: { ...walk, microBatch: 4000 } }), []);
    assert.deepEqual(report("1-0", { lossSum: undefined }), []);
  }
  assert.equal(model.coordination.phase, "filling");
});

Deno.test("a host that asks for a stage is given the neediest one", () => {
  const coordination = new Coordination({
    stages: 3,
    microBatches: 1,
    steps: 1,
    floor: 1,
    balance: balanceOf(3),
    resume: true,
    self: "coordinator",
    corpus: CORPUS,
    withoutQuorum: false,
    updateScale: () => 1,
    learningRate: () => 1,
  });
  const hello = (stage: number | null): Hello => ({
    stage,
    step: 0,
    stateHash: stage === null ? null : stateAfter(stage, 0),
    snapshots: [],
    incarnation: 1,
    secondsPerMicroBatch: null,
    movable: true,
    missed: 0,
    leaving: false,
    ...NO_PROMISE,
  });
  coordination.advance({ kind: "hello", peer: "a", hello: hello(0) });
  coordination.advance({ kind: "hello", peer: "b", hello: hello(2) });
  const commands = coordination.advance({ kind: "hello", peer: "c", hello: hello(null) });
  assert.deepEqual(commands.filter((it) => it.kind === "send"), [
    { kind: "send", peer: "c", message: { kind: "placed", term: 0, stage: 1 } },
  ]);
});

Deno.test("a restart goes on at the latest step that every stage holds", () => {
  const coordination = new Coordination({
    stages: 2,
    microBatches: 1,
    steps: 100,
    floor: 1,
    balance: balanceOf(2),
    resume: true,
    self: "coordinator",
    corpus: CORPUS,
    withoutQuorum: false,
    updateScale: () => 1,
    learningRate: () => 1,
  });
  const state = (stage: number, step: number) => ({ step, stateHash: stateAfter(stage, step) });
  const say = (peer: string, stage: number, steps: number[], promise: Partial<Hello> = {}) =>
    coordination.advance({
      kind: "hello",
      peer,
      hello: {
        stage,
        ...state(stage, steps[0]),
        snapshots: steps.slice(1).map((step) => state(stage, step)),
        incarnation: 1,
        secondsPerMicroBatch: null,
        movable: true,
        missed: 0,
        leaving: false,
        ...NO_PROMISE,
        ...promise,
      },
    });
  say("a", 0, [40, 30, 20]);
  say("b", 1, [35, 30]);
  const asked = coordination.advance({ kind: "gathered" }).flatMap((it) => it.kind === "send" ? [it] : []);
  assert.deepEqual(asked.map(({ peer, message }) => [peer, message.kind]), [["a", "lead"], ["b", "lead"]]);
  const promise = { term: coordination.term, leader: "coordinator" };
  say("a", 0, [40, 30, 20], promise);
  const [awaited] = say("b", 1, [35, 30], promise).filter(({ kind }) => kind === "awaitRevival");
  assert.ok(awaited.kind === "awaitRevival", "whoever holds step 40 of both stages may still come");
  const commands = coordination.advance({ ...awaited, kind: "revivalDue" });
  assert.equal(coordination.step, 30);
  const sent = commands.flatMap((it) => it.kind === "send" && it.message.kind !== "lead" ? [it] : []);
  assert.deepEqual(sent.map(({ peer, message }) => [peer, message.kind]), [["a", "restore"], [
    "b",
    "restore",
  ]]);
});

Deno.test("the run waits for a host that is always too late, ever more rarely", () => {
  const model = new Model(1, 1, 1, 100);
  const held: number[] = [];
  while (!model.done) {
    const { coordination } = model;
    const { phase, step, round, term } = coordination;
    if (phase === "holding") {
      held.push(step);
      model.advance({ kind: "phaseTimeout", phase, step, round });
    } else if (coordination.leads) {
      const hello: Hello = {
        ...NO_PROMISE,
        term,
        leader: "coordinator",
        stage: 0,
        step: 0,
        stateHash: hashOf(0),
        snapshots: [],
        incarnation: 1,
        secondsPerMicroBatch: null,
        movable: true,
        missed: 2,
        leaving: false,
      };
      model.advance({ kind: "hello", peer: "late", hello });
    }
    model.choices()[0]();
  }
  assert.deepEqual(held, [0, 4, 20, 84]);
});
