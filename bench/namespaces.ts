/**
 * What distance costs: a swarm whose hosts are each in a network namespace of
 * their own, behind lines of 100 Mb/s, 50 or 100 ms from everybody else, with
 * one packet in a hundred lost, next to the same swarm in the same namespaces
 * with nothing of that in between.
 *
 * At two widths, because a wider model computes more for each byte that it
 * sends: work grows with the square of the width, activations with the width.
 * One row is measured under another of the kernel's answers to loss, because
 * the one that takes every loss for a full line leaves a long line empty.
 */

import { join } from "node:path";
import { LocalSwarm } from "../cli/local_swarm.ts";
import { type BenchRun, openRun } from "./bench_swarm.ts";
import { BadNetwork, type CongestionControl, congestionControls } from "./network/bad_network.ts";
import { type Impairment, UNIMPAIRED } from "./network/between.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";

const STAGES = 3;
const REPLICAS = 2;
const HOSTS = STAGES * REPLICAS;
const WIDTHS = [128, 512];
const manifestOf = (width: number) => ({
  version: 1,
  name: `bench-namespaces-${width}`,
  model: { family: "llama", vocabulary: 256, width, layers: STAGES, heads: 4 },
  stages: STAGES,
  sequenceLength: 128,
  sequencesPerMicroBatch: 4,
  microBatchesPerStep: 24,
  // Of the schedule; a swarm takes far fewer.
  steps: 1000,
  seed: 13,
  validation: { fraction: 0 },
});
const TOKENS_PER_STEP = 24 * 4 * 128;

/** Steps of each swarm; the first ones find memory and routes, and do not count. */
const FULL = { warmup: 2, steps: 4 };
const FEW = { warmup: 1, steps: 2 };
const QUICK = { warmup: 1, steps: 1 };

/** A swarm's network. */
interface Setting {
  readonly impairment: Impairment;
  readonly congestionControl: CongestionControl;
  /** Whether its steps are so slow that few must do. */
  readonly slow?: boolean;
}

const LOSSY = { bitsPerSecond: 100e6, lossShare: 0.01 };
const near = { ...LOSSY, delayMs: 50 };
const far = { ...LOSSY, delayMs: 100 };

/** What is measured at a width. */
function settingsOf(width: number, allowed: readonly CongestionControl[]): Setting[] {
  const best = allowed.at(-1)!;
  const settings: Setting[] = [near, far].map((impairment) => ({ impairment, congestionControl: best }));
  const halving = allowed.includes("reno") && best !== "reno";
  // A wider model would show the same, and take an hour.
  if (halving && width === WIDTHS[0]) {
    settings.push({ impairment: near, congestionControl: "reno", slow: true });
  }
  return settings;
}

/** Measures for some ten minutes; without namespaces there is nothing to measure. */
export async function* benchNamespaces(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  const obstacle = await BadNetwork.obstacle();
  if (obstacle !== undefined) {
    context.note(`namespaces: left out: ${obstacle}`);
    return;
  }
  for (const width of WIDTHS) {
    await using run = await openRun(manifestOf(width));
    const speedIn = async (name: string, setting: Setting) => {
      context.note(`namespaces: width ${width}, ${name}`);
      return TOKENS_PER_STEP / median(await stepSeconds(context, run, setting));
    };
    const allowed = await congestionControls();
    const clear = await speedIn("no impairment", {
      impairment: UNIMPAIRED,
      congestionControl: allowed.at(-1)!,
    });
    yield {
      name: `namespaces: ${STAGES} stages × ${REPLICAS} hosts, width ${width}, no impairment`,
      value: clear,
      unit: "tokens/s",
    };
    for (const setting of settingsOf(width, allowed)) {
      const { impairment: { delayMs }, congestionControl } = setting;
      const name = `${delayMs} ms each way, 100 Mb/s, 1 % lost, ${congestionControl}`;
      const speed = await speedIn(name, setting);
      yield {
        name: `namespaces: width ${width}, ${name}`,
        value: speed,
        unit: "tokens/s",
        ratio: speed / clear,
        to: "the same swarm, no impairment",
      };
    }
  }
}

/** A fresh network and a fresh swarm on it. */
async function stepSeconds(
  context: BenchContext,
  run: BenchRun,
  { impairment, congestionControl, slow }: Setting,
): Promise<number[]> {
  const { clock, signal, quick } = context;
  signal.throwIfAborted();
  const { warmup, steps } = quick ? QUICK : slow ? FEW : FULL;
  const folder = await Deno.makeTempDir({ dir: run.folder, prefix: "swarm-" });
  await using network = await BadNetwork.open({
    machines: HOSTS + 1,
    impairment,
    congestionControl,
    folder,
    clock,
  });
  await using swarm = await LocalSwarm.start({
    run: run.manifestPath,
    folder,
    device: "onnx",
    threads: 1,
    clock,
    // The trainer and the bootstrap node share machine 0.
    place: (name) => network.place(Number(/^host (\d+)$/.exec(name)?.[1] ?? 0)),
  });
  const end = () => void swarm[Symbol.asyncDispose]();
  signal.addEventListener("abort", end, { once: true });
  try {
    await Promise.all(Array.from({ length: HOSTS }, (_, host) => swarm.startHost(host % STAGES)));
    const seconds: number[] = [];
    const flags = ["--steps", String(warmup + steps)];
    for await (const event of swarm.train(run.textPath, join(folder, "output"), flags)) {
      if (event.kind === "step") {
        const { step, seconds: taken, replays } = event;
        context.note(`  step ${step}: ${taken.toFixed(2)} s, ${replays} micro-batches sent again`);
        seconds.push(event.seconds);
      }
      if (event.kind === "lost") context.note(`namespaces: lost a host: ${event.reason}`);
    }
    return seconds.slice(warmup);
  } finally {
    signal.removeEventListener("abort", end);
  }
}
