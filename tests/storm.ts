/**
 * A storm over the hosts of a swarm of real processes: every so often one is
 * killed, one is stopped, to go on later, or one is started, as a seed says.
 * It spares those that it is told to spare, and starts no more than fit. It
 * judges nothing: what must hold meanwhile is its caller's to say.
 */

import type { Clock } from "../actors/core/clock.ts";
import type { Entropy } from "../actors/core/entropy.ts";
import type { LocalHost, LocalSwarm } from "../cli/local_swarm.ts";
import { StoppedProcess } from "./stopped_process.ts";

/** Between two blows. */
const PAUSE_MS = { least: 500, most: 2000 };
/** A host that stands still for so long may be missed by nobody … */
const SHORT_STOP_MS = { least: 100, most: 4000 };
/** … and one for so long is given up by everybody (`SILENCE_MS_MAX`), and comes back all the same. */
const LONG_STOP_MS = { least: 9000, most: 20_000 };
/** Of the hosts that are started, those that are one that was killed, with its name and its disk. */
const SHARE_RETURNING = 0.5;
/** Of the hosts that are started, those that choose their stage themselves. */
const SHARE_CHOOSING = 0.5;

const BLOWS = ["kill", "stop", "start"] as const;
type Blow = (typeof BLOWS)[number];

/** What the storm is made of. */
export interface StormOptions {
  readonly swarm: LocalSwarm;
  readonly stages: number;
  /** Hosts that nothing happens to. */
  readonly spared: readonly LocalHost[];
  /** Hosts that are up and may be hit. */
  readonly others: readonly LocalHost[];
  /** Most hosts at a time, those that stand still and those that are starting included. */
  readonly hostsMax: number;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

/** What has happened so far. */
export interface StormCounts {
  /** Hosts killed, those among them that stood still, and those that had just come up and served nothing yet. */
  kills: number;
  stops: number;
  /** Hosts started, and those among them that had been killed before. */
  starts: number;
  returns: number;
}

/** One storm. Disposing of it lets every host go on. */
export class Storm implements AsyncDisposable {
  readonly #options: StormOptions;
  readonly #others: LocalHost[];
  readonly #stopped = new Map<LocalHost, StoppedProcess>();
  readonly #ended: LocalHost[] = [];
  readonly #starting = new Set<Promise<void>>();
  readonly #calm = Promise.withResolvers<void>();
  readonly counts: StormCounts = { kills: 0, stops: 0, starts: 0, returns: 0 };
  /** Rejects when a host does not come up; never resolves. */
  readonly #broken = Promise.withResolvers<never>();
  #over = false;

  constructor(options: StormOptions) {
    this.#options = options;
    this.#others = [...options.others];
    this.#broken.promise.catch(() => {});
  }

  /** Hosts that are up, those that stand still included. */
  get hosts(): readonly LocalHost[] {
    return [...this.#options.spared, ...this.#others];
  }

  /**
   * Rages for so long, then lets all go on, and returns when those that were starting are up.
   *
   * @throws {Failure} if a host does not come up.
   */
  async rage(durationMs: number): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.nowMs() + durationMs;
    while (!this.#over && clock.nowMs() < untilMs) {
      await Promise.race([this.#pause(this.#within(PAUSE_MS)), this.#broken.promise]);
      if (!this.#over) await this.#strike();
    }
    await this[Symbol.asyncDispose]();
    await Promise.race([Promise.all(this.#starting), this.#broken.promise]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    this.#calm.resolve();
    await Promise.all([...this.#stopped.keys()].map((host) => this.#letGo(host)));
  }

  async #strike(): Promise<void> {
    const possible = BLOWS.filter((blow) => this.#isPossible(blow));
    const blow = this.#draw(possible);
    if (blow === "kill") await this.#kill(this.#draw(this.#others)!);
    else if (blow === "stop") await this.#stop(this.#draw(this.#running())!);
    else if (blow === "start") this.#start();
  }

  #isPossible(blow: Blow): boolean {
    if (blow === "kill") return this.#others.length > 0;
    if (blow === "stop") return this.#running().length > 0;
    return this.hosts.length + this.#starting.size < this.#options.hostsMax;
  }

  #running(): LocalHost[] {
    return this.#others.filter((host) => !this.#stopped.has(host));
  }

  async #kill(host: LocalHost): Promise<void> {
    this.counts.kills++;
    this.#others.splice(this.#others.indexOf(host), 1);
    await host.kill();
    await this.#letGo(host);
    this.#ended.push(host);
  }

  async #stop(host: LocalHost): Promise<void> {
    this.counts.stops++;
    const { clock, entropy } = this.#options;
    const stopped = await StoppedProcess.stop(host.pid);
    this.#stopped.set(host, stopped);
    const forMs = this.#within(entropy.uniform() < 0.5 ? SHORT_STOP_MS : LONG_STOP_MS);
    clock.after(forMs, () => {
      // It may have been killed, and another have its place.
      if (this.#stopped.get(host) === stopped) this.#letGo(host).catch(this.#broken.reject);
    });
  }

  async #letGo(host: LocalHost): Promise<void> {
    const stopped = this.#stopped.get(host);
    this.#stopped.delete(host);
    await stopped?.[Symbol.asyncDispose]();
  }

  #start(): void {
    this.counts.starts++;
    const { swarm, stages, entropy } = this.#options;
    const stage = entropy.uniform() < SHARE_CHOOSING ? undefined : entropy.integer(stages);
    const returning = entropy.uniform() < SHARE_RETURNING ? this.#ended.shift() : undefined;
    if (returning !== undefined) this.counts.returns++;
    const started = swarm.startHost(stage, returning?.number).then((host) => {
      this.#others.push(host);
      this.#starting.delete(started);
    });
    started.catch(this.#broken.reject);
    this.#starting.add(started);
  }

  #pause(forMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.clock.after(forMs, resolve);
    return Promise.race([promise, this.#calm.promise]).finally(() => timer.cancel());
  }

  #within({ least, most }: { readonly least: number; readonly most: number }): number {
    return least + this.#options.entropy.uniform() * (most - least);
  }

  #draw<T>(all: readonly T[]): T | undefined {
    return all.length === 0 ? undefined : all[this.#options.entropy.integer(all.length)];
  }
}
