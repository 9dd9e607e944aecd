/**
 * What it costs to be a swarm: tokens per second of three stages in three
 * processes, one host each, next to the same work in one process.
 *
 * The one process has once as many threads as the three hosts together, and
 * once as many as the machine has cores; the ratio to the faster of the two is
 * the stricter one. Each round measures every party one after the other, each
 * in fresh processes and with nobody else of ours running, so that a machine
 * that is slow for a while is slow for all. All must find the same losses.
 */

import { Child } from "../cli/child.ts";
import { join } from "node:path";
import { type BenchRun, openRun, startSwarm } from "./bench_swarm.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";
import type { SoloLine, SoloTask } from "./solo_process.ts";

const STAGES = 3;
const MANIFEST = {
  version: 1,
  name: "bench-pipeline",
  model: { family: "llama", vocabulary: 256, width: 256, layers: 6, heads: 8 },
  stages: STAGES,
  sequenceLength: 128,
  sequencesPerMicroBatch: 4,
  microBatchesPerStep: 8,
  // Of the schedule; a round takes far fewer.
  steps: 1000,
  seed: 11,
  validation: { fraction: 0 },
};
const TOKENS_PER_STEP = MANIFEST.microBatchesPerStep * MANIFEST.sequencesPerMicroBatch *
  MANIFEST.sequenceLength;

const RATIO_MIN = 0.80;
/** Same data, other processes: the same sums in the same order. */
const LOSS_DIFFERENCE_MAX = 1e-4;

/** Rounds, and steps of each; the first steps of a round find memory and routes, and do not count. */
const FULL = { rounds: 3, warmup: 3, steps: 10 };
const QUICK = { rounds: 1, warmup: 1, steps: 2 };

/** What one party found in all rounds. */
interface Found {
  readonly seconds: number[];
  /** Of one round: the same in each. */
  losses: number[];
}

/** Measures for a few minutes. */
export async function* benchPipeline(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  const { rounds, warmup, steps } = context.quick ? QUICK : FULL;
  await using run = await openRun(MANIFEST);
  const cores = navigator.hardwareConcurrency;
  const solos = new Map([...new Set([STAGES, cores])].map((threads) => [threads, newFound()]));
  const swarm = newFound();
  for (let round = 1; round <= rounds; round++) {
    for (const [threads, found] of solos) {
      context.note(`pipeline: round ${round} of ${rounds}, one process with ${threads} threads`);
      take(found, await soloSteps(context, run, threads, warmup + steps), warmup);
    }
    context.note(`pipeline: round ${round} of ${rounds}, a swarm of ${STAGES} hosts`);
    take(swarm, await swarmSteps(context, run, warmup + steps), warmup);
  }
  for (const found of solos.values()) checkLosses(swarm.losses, found.losses);

  const speeds = new Map([...solos].map(([threads, found]) => [threads, speedOf(found)]));
  const speed = speedOf(swarm);
  const strictest = Math.max(...speeds.values());
  const size = `width ${MANIFEST.model.width}, ${MANIFEST.model.layers} layers`;
  for (const [threads, solo] of speeds) {
    const which = solo === strictest ? ", the faster one" : "";
    yield {
      name: `pipeline: ${STAGES} hosts of 1 thread, ${size}`,
      value: speed,
      unit: "tokens/s",
      ratio: speed / solo,
      to: `one process, ${threads} threads${speeds.size > 1 ? which : ""}`,
      target: { of: "ratio", atLeast: RATIO_MIN },
    };
  }
}

function newFound(): Found {
  return { seconds: [], losses: [] };
}

function take(found: Found, lines: readonly SoloLine[], warmup: number): void {
  found.losses = lines.map(({ loss }) => loss);
  found.seconds.push(...lines.slice(warmup).map(({ seconds }) => seconds));
}

/** Tokens per second of the step in the middle. */
function speedOf({ seconds }: Found): number {
  return TOKENS_PER_STEP / median(seconds);
}

async function soloSteps(
  { clock, signal }: BenchContext,
  { manifestPath, textPath, folder }: BenchRun,
  threads: number,
  steps: number,
): Promise<SoloLine[]> {
  signal.throwIfAborted();
  const task: SoloTask = { manifestPath, textPath, threads, steps };
  const program = new URL("./solo_process.ts", import.meta.url);
  await using child = Child.start(program, [JSON.stringify(task)], join(folder, "solo.log"), clock);
  const end = () => child.kill();
  signal.addEventListener("abort", end, { once: true });
  const lines: SoloLine[] = [];
  for await (const line of child.lines()) lines.push(JSON.parse(line));
  signal.removeEventListener("abort", end);
  signal.throwIfAborted();
  if (lines.length === steps) return lines;
  const log = await Deno.readTextFile(join(folder, "solo.log"));
  throw new Error(`Cannot measure one process: it took ${lines.length} of ${steps} steps\n${log}`);
}

async function swarmSteps(context: BenchContext, run: BenchRun, steps: number): Promise<SoloLine[]> {
  await using processes = await startSwarm(context, run, 1);
  const output = join(run.folder, "output");
  const lines: SoloLine[] = [];
  for await (const event of processes.swarm.train(run.textPath, output, ["--steps", `${steps}`])) {
    if (event.kind === "step") lines.push(event);
    if (event.kind === "lost") throw new Error(`Cannot measure the swarm: it lost a host: ${event.reason}`);
  }
  return lines;
}

/** @throws {Error} if the two did not do the same work. */
function checkLosses(swarm: readonly number[], solo: readonly number[]): void {
  swarm.forEach((loss, index) => {
    const difference = Math.abs(loss - solo[index]);
    if (difference <= LOSS_DIFFERENCE_MAX) return;
    throw new Error(
      `Cannot compare: the loss of step ${index + 1} is ${loss} in the swarm, ${solo[index]} in one process`,
    );
  });
}
