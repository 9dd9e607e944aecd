/**
 * A scenario come alive: a swarm of the product's own peers on virtual time, the
 * plan of what goes wrong carried out, and checkers that watch. First anything
 * may break; then everything heals, and the run has to go on. It judges nothing
 * itself and prints nothing.
 */

import type { PeerId, Work } from "../actors/core/actor.ts";
import type { Clock } from "../actors/core/clock.ts";
import type { TraceEvent } from "../actors/core/trace.ts";
import type { RunEvent } from "../actors/report.ts";
import type { Frame } from "../actors/wire/wire.ts";
import type { Violation } from "./checkers/checker.ts";
import { ExactlyOnce } from "./checkers/exactly_once.ts";
import { NoCrash } from "./checkers/no_crash.ts";
import { OneStage } from "./checkers/one_stage.ts";
import { Progress } from "./checkers/progress.ts";
import { SameBits } from "./checkers/same_bits.ts";
import { SameData } from "./checkers/same_data.ts";
import { WithinBounds } from "./checkers/within_bounds.ts";
import { countingData, countingManifest } from "./counting_run.ts";
import { CountingStage, type StageWatcher } from "./counting_stage.ts";
import { type Fault, type FaultOf, lasts } from "./faults.ts";
import { KademliaNetwork, type LookUpCounts } from "./kademlia.ts";
import { LyingWire } from "./lying_wire.ts";
import { MemoryPledges } from "./memory_pledges.ts";
import { MemorySnapshots } from "./memory_snapshots.ts";
import { Network } from "./network.ts";
import { type Scenario, trainerName } from "./scenario.ts";
import { SkewedClock } from "./skewed_clock.ts";
import { SimulatedSwarm } from "./swarm.ts";
import { bestRate, type ThroughputPoint } from "./throughput.ts";
import { Weather } from "./weather.ts";

/** What can be asked of a run beside its scenario. */
export interface WorldOptions {
  /** Told how far virtual time has come, now and then. */
  readonly onTime?: (nowMs: number) => void;
  /** Told what happens to the run. */
  readonly onEvent?: (event: RunEvent) => void;
  /** Told everything that actors note down. */
  readonly onTrace?: (event: TraceEvent) => void;
  /** Virtual time between two looks at everything. Default: a 400th of the break phase, a second at least. */
  readonly lookMs?: number;
  /** Stands between a host and its stage: a test that a checker fires puts a faulty stage here. */
  readonly spoil?: (stage: CountingStage, peer: PeerId) => CountingStage;
  /** Ends the run early. */
  readonly signal?: AbortSignal;
}

/** What came of a scenario. */
export interface Outcome {
  /** What the checkers saw; the run ends with the first. */
  readonly violations: readonly Violation[];
  /** Steps that every stage took, and those of them before the heal. */
  readonly steps: number;
  readonly stepsBeforeHeal: number;
  /** Virtual time of the end. */
  readonly virtualMs: number;
  /** Virtual time from the heal until the run was under way again; `undefined` if it never was. */
  readonly resumedAfterMs: number | undefined;
  /** Whether a person had to bring hosts back: most of those who vouched for the steps were thrown out as liars. */
  readonly neededPerson: boolean;
  /** Hosts that the coordinator took in and lost, and micro-batches that were sent again. */
  readonly joined: number;
  readonly lost: number;
  readonly replays: number;
  /** Frames that were sent, by kind of message. */
  readonly messages: Readonly<Record<string, number>>;
  /** What it took to find each other. */
  readonly lookUps: LookUpCounts;
  readonly points: readonly ThroughputPoint[];
}

/** More than any run takes. */
const STEPS_MAX = 1_000_000_000;
/** Connections of one peer: a trainer that coordinates ten thousand hosts holds one with each. */
const PEERS_MAX = 16_384;
const LOOKS = 400;
const LOOK_MS_MIN = 1000;
const VIOLATIONS_MAX = 16;
/** A person looks after the run so long after the heal. Few runs wait for one. */
const PERSON_MS = 60_000;
/** What a run that waits for a person says. */
const WAITS_FOR_PERSON = "--without-quorum";
/** What a run says that goes back to what is on disks. */
const GOES_BACK = "the run goes back from step";

/** Plays a scenario to its end. The same scenario has the same outcome. */
export async function play(scenario: Scenario, options: WorldOptions = {}): Promise<Outcome> {
  return await new World(scenario, options).play();
}

class World {
  readonly #scenario: Scenario;
  readonly #options: WorldOptions;
  readonly #swarm: SimulatedSwarm;
  readonly #table = new KademliaNetwork(() => this.#clock.epochMs());
  readonly #clock: Clock;
  readonly #network: Network;
  readonly #weather: Weather;
  readonly #disks = new Map<PeerId, MemorySnapshots>();
  /** Kept beside a host's key: whoever has lost that comes back under another name, as a newcomer. */
  readonly #pledges = new Map<PeerId, MemoryPledges>();
  readonly #stageOf = new Map<PeerId, number | null>();
  readonly #liars: Set<PeerId>;
  readonly #slow: readonly FaultOf<"slow">[];
  readonly #slowness = new Map<PeerId, number>();
  readonly #counting = new Map<PeerId, CountingStage>();

  readonly #violations: Violation[] = [];
  readonly #exactlyOnce: ExactlyOnce;
  readonly #sameBits: SameBits;
  readonly #sameData: SameData;
  readonly #oneStage: OneStage;
  readonly #withinBounds: WithinBounds;
  readonly #progress: Progress;
  readonly #noCrash: NoCrash;

  readonly #messages: Record<string, number> = {};
  readonly #points: ThroughputPoint[] = [];
  #healed = false;
  /** What the run has said last that it waits for, if it still does. */
  #waitingFor = "";
  /** The run has said that it goes back to an older step: some stage may be further than the whole model was. */
  #goesBack = false;
  #stepsBeforeHeal = 0;
  #resumedAtMs: number | undefined;
  #neededPerson = false;
  #joined = 0;
  #lost = 0;
  #replays = 0;

  constructor(scenario: Scenario, options: WorldOptions) {
    this.#scenario = scenario;
    this.#options = options;
    const report = (violation: Violation) => {
      if (this.#violations.length < VIOLATIONS_MAX) this.#violations.push(violation);
    };
    this.#exactlyOnce = new ExactlyOnce(report);
    this.#sameBits = new SameBits(report);
    this.#sameData = new SameData(report);
    this.#oneStage = new OneStage(report);
    this.#withinBounds = new WithinBounds(report);
    this.#progress = new Progress(report, scenario);
    this.#noCrash = new NoCrash(report);

    const faults = scenario.faults.map((fault) => endedBy(scenario.breakMs, fault));
    const lies = faults.filter((fault) => fault.kind === "lie");
    const skews = new Map(faults.flatMap((fault) => fault.kind === "skew" ? [[fault.peer, fault]] : []));
    this.#liars = new Set(lies.map(({ peer }) => peer));
    this.#slow = faults.filter((fault) => fault.kind === "slow");
    const { stages, microBatchesPerStep, snapshotEverySteps, rebalanceEverySeconds } = scenario;
    const manifest = countingManifest({
      stages,
      microBatchesPerStep,
      steps: STEPS_MAX,
      rebalance: { everySeconds: rebalanceEverySeconds },
    });
    this.#swarm = new SimulatedSwarm({
      manifest,
      dataset: countingData(),
      seed: scenario.seed,
      durationMs: (peer, work) => this.#durationMs(peer, work),
      snapshotEverySteps,
      peersMax: PEERS_MAX,
      link: (from, to) => this.#network.link(from, to),
      fault: (from, to, frame) => this.#onFrame(from, to, frame),
      clockOf: (peer, clock) => {
        const skew = skews.get(peer);
        return skew === undefined ? clock : new SkewedClock(clock, skew);
      },
      wireOf: (wire) => {
        const own = lies.filter(({ peer }) => peer === wire.self);
        if (own.length === 0) return wire;
        const told = () => own.flatMap((lie) => lasts(lie, this.#clock.nowMs()) ? [lie.how] : []);
        return new LyingWire(wire, this.#swarm.simulation.entropy.fork(`lies of ${wire.self}`), told);
      },
      openStage: (index, peer) => {
        const stage = new CountingStage({ manifest, index, watcher: this.#watcher(peer, index) });
        this.#counting.set(peer, stage);
        return Promise.resolve(options.spoil?.(stage, peer) ?? stage);
      },
      rendezvous: () => this.#table,
      trace: (event) => {
        options.onTrace?.(event);
        if (!this.#liars.has(event.peer)) this.#noCrash.traced(event);
      },
      onEvent: (event) => this.#onEvent(event),
      // The trace has told of it already.
      onCrash: () => {},
    });
    const { clock, entropy } = this.#swarm.simulation;
    this.#clock = clock;
    this.#network = new Network(entropy.fork("network"), scenario.network);
    this.#weather = new Weather(clock, entropy.fork("weather"), faults);
    for (const fault of faults) this.#plan(fault);
    this.#planChurn();
  }

  async play(): Promise<Outcome> {
    const { hosts, trainers, breakMs } = this.#scenario;
    const lookMs = this.#options.lookMs ?? Math.max(LOOK_MS_MIN, breakMs / LOOKS);
    for (const { peer, stage } of hosts) {
      this.#stageOf.set(peer, stage);
      this.#start(peer);
    }
    for (let index = 0; index < trainers; index++) this.#startTrainer(trainerName(index));
    while (!this.#isOver()) {
      this.#look();
      const nowMs = this.#clock.nowMs();
      const nextMs = nowMs + lookMs;
      const untilMs = this.#healed ? nextMs : Math.min(nextMs, breakMs);
      await this.#swarm.simulation.run({ untilMs, until: () => this.#isOver() });
      if (!this.#healed && this.#clock.nowMs() >= breakMs) this.#heal();
    }
    this.#look();
    await this.#swarm.close();
    return {
      violations: this.#violations,
      steps: this.#progress.step,
      stepsBeforeHeal: this.#stepsBeforeHeal,
      virtualMs: this.#clock.nowMs(),
      resumedAfterMs: this.#resumedAtMs === undefined ? undefined : this.#resumedAtMs - breakMs,
      neededPerson: this.#neededPerson,
      joined: this.#joined,
      lost: this.#lost,
      replays: this.#replays,
      messages: this.#messages,
      lookUps: this.#table.counts,
      points: this.#points,
    };
  }

  #isOver(): boolean {
    return this.#violations.length > 0 || this.#progress.resumed || this.#options.signal?.aborted === true;
  }

  // --- who is there -------------------------------------------------------------------------------

  #start(peer: PeerId): void {
    if (this.#swarm.isUp(peer)) return;
    const disk = this.#disks.get(peer) ?? new MemorySnapshots();
    this.#disks.set(peer, disk);
    const pledges = this.#pledges.get(peer) ?? new MemoryPledges();
    this.#pledges.set(peer, pledges);
    this.#swarm.startHost(peer, this.#stageOf.get(peer) ?? undefined, disk, pledges);
  }

  #startTrainer(peer: PeerId): void {
    if (this.#swarm.isUp(peer)) return;
    const { privateData, trainers } = this.#scenario;
    const names = Array.from({ length: trainers }, (_, index) => trainerName(index));
    this.#swarm.startTrainer(peer, true, countingData(privateData ? 1 + names.indexOf(peer) : 0));
  }

  #end(peer: PeerId, how: "stop" | "kill"): void {
    if (!this.#swarm.isUp(peer)) return;
    if (how === "stop") this.#swarm.stop(peer);
    else this.#swarm.kill(peer);
    this.#gone(peer);
  }

  #gone(peer: PeerId): void {
    this.#oneStage.gone(peer);
    this.#counting.delete(peer);
  }

  /** It goes once it is not needed any more, and comes back so long afterwards, or if it is called for. */
  async #leave({ peer, backMs }: FaultOf<"leave">): Promise<void> {
    if (!this.#swarm.isUp(peer)) return;
    await this.#swarm.leave(peer);
    this.#gone(peer);
    this.#clock.after(this.#healed ? 0 : backMs, () => this.#start(peer));
  }

  #planChurn(): void {
    for (const { atMs, kind, peer } of this.#scenario.churn) {
      this.#at(atMs, () => {
        if (kind === "start") this.#start(peer);
        else this.#end(peer, kind);
      });
    }
  }

  #plan(fault: Fault): void {
    switch (fault.kind) {
      case "crash": {
        const { peer, atMs, backMs } = fault;
        const isTrainer = peer.startsWith(trainerName(0).slice(0, -1));
        this.#at(atMs, () => {
          if (!fault.disk) this.#disks.delete(peer);
          this.#end(peer, "kill");
        });
        this.#at(atMs + backMs, () => isTrainer ? this.#startTrainer(peer) : this.#start(peer));
        return;
      }
      case "leave":
        return this.#at(fault.atMs, () => void this.#leave(fault));
      case "join":
        return this.#at(fault.atMs, () => {
          this.#stageOf.set(fault.peer, fault.stage);
          this.#start(fault.peer);
        });
    }
  }

  /** Unless everything has healed by then. */
  #at(atMs: number, run: () => void): void {
    this.#clock.after(atMs, () => this.#healed ? undefined : run());
  }

  /** Who lies is thrown out, who is missing comes back. */
  #heal(): void {
    this.#healed = true;
    this.#stepsBeforeHeal = this.#progress.step;
    for (const peer of this.#liars) this.#end(peer, "kill");
    for (const { peer } of this.#scenario.hosts) if (!this.#liars.has(peer)) this.#start(peer);
    for (let index = 0; index < this.#scenario.trainers; index++) this.#startTrainer(trainerName(index));
    this.#progress.healed(this.#clock.nowMs());
    this.#clock.after(PERSON_MS, () => this.#callOwners());
  }

  /**
   * With most of those who vouch for its steps thrown out the run has to wait, and to say for what.
   * A person who reads it has them started again, honest now. A run that doesn't say so is not helped.
   */
  #callOwners(): void {
    if (!this.#waitingFor.includes(WAITS_FOR_PERSON)) return;
    this.#neededPerson = true;
    const peers = [...this.#liars];
    this.#liars.clear();
    for (const peer of peers) this.#start(peer);
  }

  // --- what things cost ---------------------------------------------------------------------------

  #durationMs(peer: PeerId, { kind }: Work): number {
    const { forwardMs, backwardMs } = this.#scenario;
    switch (kind) {
      case "forward":
        return forwardMs * this.#slownessNow(peer);
      case "backward":
        return backwardMs * this.#slownessNow(peer);
      case "lookup":
      case "announce":
        return 2 * this.#scenario.network.latencyMsMax;
      default:
        return 2 * this.#slownessNow(peer);
    }
  }

  #slownessNow(peer: PeerId): number {
    const nowMs = this.#clock.nowMs();
    return this.#slow.reduce(
      (slowness, fault) => fault.peer === peer && lasts(fault, nowMs) ? slowness * fault.factor : slowness,
      this.#usualSlowness(peer),
    );
  }

  #usualSlowness(peer: PeerId): number {
    const { slownessMax } = this.#scenario;
    if (slownessMax === 1) return 1;
    const known = this.#slowness.get(peer);
    if (known !== undefined) return known;
    const slowness = slownessMax ** this.#swarm.simulation.entropy.fork(`slowness of ${peer}`).uniform();
    this.#slowness.set(peer, slowness);
    return slowness;
  }

  // --- what is seen -------------------------------------------------------------------------------

  #onFrame(from: PeerId, to: PeerId, { header }: Frame) {
    const { kind } = header as { readonly kind: string };
    this.#messages[kind] = (this.#messages[kind] ?? 0) + 1;
    return this.#weather.fault(from, to);
  }

  #watcher(peer: PeerId, index: number): StageWatcher {
    if (this.#liars.has(peer)) return {};
    this.#oneStage.opened(peer, index);
    return {
      applied: (sum) => {
        this.#exactlyOnce.applied(peer, sum);
        this.#sameBits.applied(peer, sum);
        this.#sameData.applied(peer, sum);
        this.#progress.applied(sum);
        if (this.#progress.resumed) this.#resumedAtMs ??= this.#clock.nowMs();
      },
      counted: (counted) => {
        this.#sameBits.counted(peer, counted);
        this.#oneStage.counted(peer, counted);
      },
      closed: () => this.#oneStage.closed(peer, index),
    };
  }

  #onEvent(event: RunEvent): void {
    this.#options.onEvent?.(event);
    this.#noCrash.told(event);
    if (event.kind === "waiting") this.#waitingFor = event.reason;
    if (event.kind === "step") this.#waitingFor = "";
    // A stage was lost for good: the run goes on from what all stages have on disks.
    if (event.kind === "waiting" && event.reason.includes(GOES_BACK)) this.#goesBack = true;
    if (event.kind === "leading" && (this.#goesBack || event.step < this.#progress.step)) {
      this.#goesBack = false;
      this.#sameBits.wentBack(event.step);
      this.#sameData.wentBack(event.step);
    }
    if (event.kind === "joined") this.#joined++;
    if (event.kind === "lost") this.#lost++;
    if (event.kind === "step") this.#replays += event.replays;
  }

  #look(): void {
    const nowMs = this.#clock.nowMs();
    this.#options.onTime?.(nowMs);
    this.#progress.looked(nowMs);
    const loads = this.#swarm.mailboxes().map((load) => ({
      ...load,
      kept: this.#counting.get(load.peer)?.kept ?? 0,
    }));
    this.#withinBounds.sampled(loads, this.#swarm.simulation.clock.pending);
    this.#points.push(this.#point(nowMs));
  }

  #point(atMs: number): ThroughputPoint {
    const { stages, forwardMs, backwardMs, microBatchesPerStep } = this.#scenario;
    const usualRate = 1000 / (forwardMs + backwardMs);
    const serving = new Array<number>(stages).fill(0);
    const rates = new Array<number>(stages).fill(0);
    for (const [peer, status] of this.#swarm.statuses) {
      if (!status.serving || status.stage === undefined) continue;
      serving[status.stage]++;
      rates[status.stage] += usualRate / this.#usualSlowness(peer);
    }
    const up = this.#swarm.hosts().map((peer) => usualRate / this.#usualSlowness(peer));
    return {
      atMs,
      alive: up.length,
      serving,
      assigned: Math.min(...rates),
      best: bestRate(up, stages),
      applied: this.#progress.step * microBatchesPerStep,
    };
  }
}

/** What lasts is over when everything heals. */
function endedBy(breakMs: number, fault: Fault): Fault {
  if (!("forMs" in fault)) return fault;
  return { ...fault, forMs: Math.max(0, Math.min(fault.forMs, breakMs - fault.atMs)) };
}
