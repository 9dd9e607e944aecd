/**
 * What a death costs: hosts of a swarm with two hosts a stage are killed as by
 * a power cut in the middle of a step, one at a time, and a fresh one takes the
 * place of each before the next dies.
 *
 * Three times are told, from the kill on. To the next micro-batch that ends
 * anywhere: the run goes on. To the first micro-batch that had to be sent again
 * and has ended: the damage is being repaired. To the end of the step that was
 * hit: all of it is repaired, and the step has been taken.
 *
 * The trainer runs in this process, because its trace says when a walk ends; the
 * hosts and the process that introduces them are processes of their own.
 */

import { assembleTrainer } from "../actors/assemble.ts";
import type { TraceEvent } from "../actors/core/trace.ts";
import type { RunEvent } from "../actors/report.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import { openPeer } from "../cli/peer.ts";
import type { LocalHost } from "../cli/local_swarm.ts";
import { type BenchRun, openRun, readRun, startSwarm } from "./bench_swarm.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";

const STAGES = 3;
const REPLICAS = 2;
const MICRO_BATCHES = 12;
const MANIFEST = {
  version: 1,
  name: "bench-recovery",
  model: { family: "llama", vocabulary: 256, width: 128, layers: 6, heads: 4 },
  stages: STAGES,
  sequenceLength: 64,
  sequencesPerMicroBatch: 4,
  microBatchesPerStep: MICRO_BATCHES,
  steps: 1_000_000,
  optimizer: { kind: "adamw", warmupSteps: 10, decaySteps: 1000 },
  seed: 12,
  validation: { fraction: 0 },
};

const SECONDS_MAX = 1;
const KILLS = 9;
const KILLS_QUICK = 2;
/** Steps with every host in place before the next kill: the routers know their peers again. */
const CALM_STEPS = 5;
/** Longer than every time-out on the way. */
const PATIENCE_MS = 120_000;

/** What one death cost, in seconds. */
interface Cost {
  readonly next: number;
  /** Nothing had to be sent again if the dead host had nothing and had done nothing in this step. */
  readonly replayed: number | undefined;
  readonly step: number;
}

/** Measures for a minute or two. */
export async function* benchRecovery(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  const kills = context.quick ? KILLS_QUICK : KILLS;
  await using run = await openRun(MANIFEST);
  await using processes = await startSwarm(context, run, REPLICAS);
  const { swarm, hosts } = processes;
  await using trainer = await startTrainer(context, run, swarm.address);

  const costs: Cost[] = [];
  const calmSeconds: number[] = [];
  while (costs.length < kills) {
    calmSeconds.push(...await trainer.calm());
    const stage = costs.length % STAGES;
    // The one that has been there longest, so that newcomers are tried as survivors too.
    const victim = hosts[stage].shift()!;
    // All places in a step get their turn, but for its last walk: what is killed after it hits the reduction.
    const ended = 1 + costs.length * 5 % (MICRO_BATCHES - 1);
    const cost = await trainer.kill(victim, ended);
    context.note(
      `recovery: death ${costs.length + 1} of ${kills}, stage ${stage}, after ${ended} of ${MICRO_BATCHES} ` +
        `micro-batches: next in ${seconds(cost.next)}, replayed in ${seconds(cost.replayed)}, ` +
        `step in ${seconds(cost.step)}`,
    );
    costs.push(cost);
    if (costs.length < kills) hosts[stage].push(await swarm.startHost(stage));
  }

  const name = `recovery: ${STAGES} stages × ${REPLICAS} hosts, median of ${kills} deaths, to`;
  const calm = median(calmSeconds);
  const replayed = costs.flatMap((cost) => cost.replayed === undefined ? [] : [cost.replayed]);
  yield {
    name: `${name} the next micro-batch`,
    value: median(costs.map(({ next }) => next)),
    unit: "s",
    target: { of: "value", atMost: SECONDS_MAX },
  };
  yield {
    name: `${name} the first that was sent again (in ${replayed.length})`,
    value: median(replayed),
    unit: "s",
  };
  const step = median(costs.map((cost) => cost.step));
  yield {
    name: `${name} the end of the step`,
    value: step,
    unit: "s",
    ratio: step / calm,
    to: `a whole step without a death, ${seconds(calm)}`,
  };
}

function seconds(value: number | undefined): string {
  return value === undefined ? "–" : `${value.toFixed(2)} s`;
}

/** A trainer in this process, and what can be seen of its run from here. */
interface ObservedTrainer extends AsyncDisposable {
  /** Waits for some steps in a row with every host in place. @returns how long each took, in seconds. */
  calm(): Promise<number[]>;
  /** Kills the host when so many walks of the next step have ended, and waits for the end of that step. */
  kill(victim: LocalHost, endedWalks: number): Promise<Cost>;
}

async function startTrainer(
  { clock, signal }: BenchContext,
  run: BenchRun,
  address: string,
): Promise<ObservedTrainer> {
  signal.throwIfAborted();
  const { manifest, dataset } = await readRun(run);
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => {});
  signal.addEventListener("abort", () => broken.reject(signal.reason), { once: true });

  let watchWalk: (event: TraceEvent, attempt: number) => void = () => {};
  let watchStep: (event: Extract<RunEvent, { kind: "step" }>) => void = () => {};
  const peer = await openPeer({
    manifest,
    identity: await createIdentity(),
    listen: ["/ip4/127.0.0.1/tcp/0"],
    bootstrap: [address],
    trace: (event) => {
      if (event.actor === "trainer" && event.event === "walk finished") {
        watchWalk(event, attemptOf(String(event.fields.walk)));
      }
    },
    escalate: ({ error }) => broken.reject(error),
  });
  const trainer = assembleTrainer(peer.parts, {
    dataset,
    resume: false,
    onEvent: (event) => {
      if (event.kind === "step") watchStep(event);
      if (event.kind === "failed") broken.reject(new Error(`Cannot measure: ${event.reason}`));
    },
  });
  /** Bounded: a swarm that never recovers is told of, and not waited for. */
  const until = async <T>(what: string, work: Promise<T>): Promise<T> => {
    const late = Promise.withResolvers<never>();
    const timer = clock.after(PATIENCE_MS, () => {
      late.reject(new Error(`Cannot measure: ${what} did not come within ${PATIENCE_MS / 1000} s`));
    });
    try {
      return await Promise.race([work, late.promise, broken.promise]);
    } finally {
      timer.cancel();
    }
  };

  return {
    async calm() {
      const { promise, resolve } = Promise.withResolvers<number[]>();
      let calm: number[] = [];
      watchStep = ({ seconds, hosts, replays }) => {
        const whole = hosts.every((count) => count === REPLICAS) && replays === 0;
        calm = whole ? [...calm, seconds] : [];
        // The first one may have begun before all was in place.
        if (calm.length > CALM_STEPS) resolve(calm.slice(1));
      };
      return await until("a calm swarm", promise);
    },
    async kill(victim, endedWalks) {
      const { promise, resolve } = Promise.withResolvers<Cost>();
      let ended = 0;
      let killedAtMs: number | undefined;
      let next: number | undefined;
      let replayed: number | undefined;
      let gone = Promise.resolve();
      const sinceKill = (atMs: number) => (atMs - killedAtMs!) / 1000;
      watchStep = () => {
        // Walks are counted from the beginning of a step.
        ended = 0;
        watchStep = () => {
          ended = 0;
          if (killedAtMs === undefined) return;
          const step = sinceKill(clock.nowMs());
          // A step whose walks had all ended goes on without another.
          resolve({ next: next ?? step, replayed, step });
        };
        watchWalk = ({ atMs }, attempt) => {
          if (killedAtMs !== undefined) {
            next ??= sinceKill(atMs);
            if (attempt > 1) replayed ??= sinceKill(atMs);
          } else if (++ended === endedWalks) {
            killedAtMs = clock.nowMs();
            gone = victim.kill();
          }
        };
      };
      const cost = await until("the step in which a host died", promise);
      watchWalk = () => {};
      watchStep = () => {};
      await gone;
      return cost;
    },
    async [Symbol.asyncDispose]() {
      trainer.stop();
      await peer.close();
    },
  };
}

/** Of `purpose/step/micro-batch/attempt/round`. */
function attemptOf(walk: string): number {
  return Number(walk.split("/")[3]);
}
