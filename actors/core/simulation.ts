/**
 * Many peers in one thread, on one virtual clock, from one seed. The result
 * depends on the seed and never on how fast the machine is.
 *
 * First every message is handled, then started work is awaited (for real, one
 * piece at a time), and only when both have run dry does time move.
 */

import type { PeerId } from "./actor.ts";
import type { Failure } from "./cell.ts";
import type { Performer } from "./performer.ts";
import { Queue } from "./queue.ts";
import { eventLoopScheduler, type Scheduler } from "./scheduler.ts";
import { SeededEntropy } from "./seeded_entropy.ts";
import { type CostModel, SimulatedPerformer } from "./simulated_performer.ts";
import { ActorSystem, type ActorSystemOptions } from "./system.ts";
import { silentTrace, type TraceSink } from "./trace.ts";
import { VirtualClock } from "./virtual_clock.ts";

/** Events between two passes of the machine's event loop, so that a user can interrupt. */
const EVENTS_PER_PASS = 1024;

/** What a simulation is built from. */
export interface SimulationOptions {
  /** Of all chance in this world. */
  readonly seed: number | string;
  /** How long work takes. */
  readonly costs: CostModel;
  /** Default: nothing is kept. */
  readonly trace?: TraceSink;
  /** What `epochMs()` says at virtual time 0. */
  readonly epochStartMs?: number;
}

/** When to stop. Without any of them: when nothing is left to happen. */
export interface RunOptions {
  /** Time to reach; the clock stands there afterwards. */
  readonly untilMs?: number;
  /** Asked before each event. */
  readonly until?: () => boolean;
  /** A bound for runs that might never end. An event is a system's turn, a piece of work, or a timer. */
  readonly eventsMax?: number;
}

/** Why a run stopped. */
export interface RunResult {
  /** Which condition held; `idle`: nothing is left to happen. */
  readonly ended: "until" | "time" | "events" | "idle";
  /** Events in this run. */
  readonly events: number;
  /** Virtual time at its end. */
  readonly nowMs: number;
}

/** What a simulated system may choose for itself. */
export type SimulatedSystemOptions<Message> =
  & Pick<ActorSystemOptions<Message>, "peer">
  & Partial<ActorSystemOptions<Message>>;

/** A world of its own. */
export class Simulation {
  /** The one clock. */
  readonly clock: VirtualClock;
  /** Where every stream of chance forks from. */
  readonly entropy: SeededEntropy;
  /** Where the events of all systems go. */
  readonly trace: TraceSink;
  /** Gives turns in the order in which they were asked for. */
  readonly scheduler: Scheduler = (turn) => this.#turns.push(turn);
  readonly #costs: CostModel;
  /** One per system at most. */
  readonly #turns = new Queue<() => void>();
  /** Bounded by what each actor may have under way. */
  readonly #jobs = new Queue<() => Promise<void>>();
  readonly #lives = new Map<PeerId, number>();
  #failure: { readonly peer: PeerId; readonly failure: Failure } | undefined;
  #runs = false;

  /** An empty world at time 0. */
  constructor(options: SimulationOptions) {
    this.clock = new VirtualClock(options.epochStartMs);
    this.entropy = new SeededEntropy(options.seed);
    this.trace = options.trace ?? silentTrace;
    this.#costs = options.costs;
  }

  /** What does a peer's work. One for each life of a peer: its lanes start free. */
  performer(peer: PeerId): Performer {
    return new SimulatedPerformer(peer, this.clock, this.#costs, (job) => this.#jobs.push(job));
  }

  /**
   * A system in this world. A peer that comes back after a kill draws other
   * numbers than in its life before. Unless `escalate` says otherwise, an
   * actor that crashes for good makes {@link run} throw.
   */
  system<Message>(options: SimulatedSystemOptions<Message>): ActorSystem<Message> {
    const { peer } = options;
    const life = (this.#lives.get(peer) ?? 0) + 1;
    this.#lives.set(peer, life);
    return new ActorSystem<Message>({
      clock: this.clock,
      entropy: this.entropy.fork(`peer ${peer}, life ${life}`),
      performer: this.performer(peer),
      scheduler: this.scheduler,
      trace: this.trace,
      escalate: (failure) => this.#failure ??= { peer, failure },
      ...options,
    });
  }

  /**
   * Lets things happen until a condition of `options` holds or nothing is left.
   *
   * @throws {Error} if an actor crashed for good; the cause is what it threw.
   */
  async run(options: RunOptions = {}): Promise<RunResult> {
    if (this.#runs) throw new Error("Cannot run the simulation: it runs already");
    this.#runs = true;
    try {
      return await this.#run(options);
    } finally {
      this.#runs = false;
    }
  }

  async #run({ untilMs = Infinity, until, eventsMax = Infinity }: RunOptions): Promise<RunResult> {
    let events = 0;
    const result = (ended: RunResult["ended"]): RunResult => ({
      ended,
      events,
      nowMs: this.clock.nowMs(),
    });
    while (true) {
      if (until?.()) return result("until");
      if (events >= eventsMax) return result("events");
      const happened = await this.#step(untilMs);
      this.#throwFailure();
      if (!happened) break;
      if (++events % EVENTS_PER_PASS === 0) await new Promise<void>(eventLoopScheduler);
    }
    if (untilMs === Infinity) return result("idle");
    this.clock.advanceTo(untilMs);
    return result("time");
  }

  /** One event, if there is one by `untilMs`. */
  async #step(untilMs: number): Promise<boolean> {
    const turn = this.#turns.shift();
    if (turn !== undefined) {
      turn();
      return true;
    }
    const job = this.#jobs.shift();
    if (job !== undefined) {
      await job();
      return true;
    }
    return (this.clock.nextAtMs() ?? Infinity) <= untilMs && this.clock.fireNext();
  }

  #throwFailure(): void {
    if (this.#failure === undefined) return;
    const { peer, failure } = this.#failure;
    this.#failure = undefined;
    throw new Error(
      `Cannot go on with the simulation: ${failure.actor} of ${peer} crashed ${failure.crashes} times: ${failure.error}`,
      { cause: failure.error },
    );
  }
}
