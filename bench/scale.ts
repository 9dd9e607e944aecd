/**
 * What more hosts cost each of them: swarms of a hundred to ten thousand, twenty
 * hosts a stage, simulated in this process with the product's own peers. No
 * clock is read but for the time that the largest takes.
 */

import { join } from "node:path";
import { HOME_DIRECTORY } from "../cli/box.ts";
import type { Scenario } from "../sim/scenario.ts";
import { play } from "../sim/world.ts";
import type { BenchContext, BenchRow } from "./row.ts";
import { plotScale, type ScalePoint } from "./scale_plot.ts";

const REPLICAS = 20;
const MICRO_BATCHES = 64;
const HOSTS = [100, 300, 1000, 3000, 10_000];
const HOSTS_QUICK = [100, 300, 1000];
/** Time before the run is asked for its last steps: enough for the first ones. */
const RUN_MS = 5000;
const SECONDS_MAX = 600;
const FOLDER = join(HOME_DIRECTORY, "bench");

/** Of the walk of a micro-batch, and of the end of a step: their number depends on what is done. */
const WORK = new Set([
  "forward",
  "admitted",
  "refused",
  "processed",
  "backward",
  "accumulated",
  "finished",
  "prepare",
  "prepared",
  "reduce",
  "part",
  "total",
  "reduced",
  "apply",
  "applied",
]);

/** Some minutes. */
export async function* benchScale(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  const points: ScalePoint[] = [];
  for (const hosts of context.quick ? HOSTS_QUICK : HOSTS) {
    context.note(`scale: ${hosts} hosts`);
    const startedMs = context.clock.nowMs();
    const point = await measure(hosts, context.signal);
    context.signal.throwIfAborted();
    points.push(point);
    const [first] = points;
    const name = (what: string) => `scale: ${hosts} hosts, ${what}`;
    yield {
      name: name("messages of a micro-batch"),
      value: point.messagesOfWork,
      unit: "a host",
      ratio: point.messagesOfWork / first.messagesOfWork,
      to: `${first.hosts} hosts`,
      target: { of: "ratio", atMost: 1.1 },
    };
    yield {
      name: name("messages of being there"),
      value: point.messagesOfPresence,
      unit: "a host and second",
      ratio: point.messagesOfPresence / first.messagesOfPresence,
      to: `${first.hosts} hosts`,
      target: { of: "ratio", atMost: 1.1 },
    };
    yield {
      name: name("hops of a look-up"),
      value: point.hops,
      unit: "hops",
      ratio: point.hops / Math.log2(hosts),
      to: "log₂ of the hosts",
      target: { of: "ratio", atMost: 1 },
    };
    yield { name: name("questions of a look-up"), value: point.questions, unit: "messages" };
    yield {
      name: name("the simulation itself"),
      value: (context.clock.nowMs() - startedMs) / 1000,
      unit: "s",
      target: { of: "value", atMost: SECONDS_MAX },
    };
  }
  await Deno.mkdir(FOLDER, { recursive: true });
  const path = join(FOLDER, "scale.svg");
  await Deno.writeTextFile(path, plotScale(points));
  context.note(`scale: the picture is in ${path}`);
}

async function measure(hosts: number, signal: AbortSignal): Promise<ScalePoint> {
  const outcome = await play(scenarioOf(hosts), { signal });
  if (outcome.violations.length > 0) {
    const [{ checker, words }] = outcome.violations;
    throw new Error(`Cannot measure ${hosts} hosts: ${checker}: ${words}`);
  }
  const sum = (of: (kind: string) => boolean) =>
    Object.entries(outcome.messages).reduce((total, [kind, count]) => of(kind) ? total + count : total, 0);
  const { lookUps, hops, messages } = outcome.lookUps;
  return {
    hosts,
    messagesOfWork: sum((kind) => WORK.has(kind)) / hosts / (outcome.steps * MICRO_BATCHES),
    messagesOfPresence: sum((kind) => !WORK.has(kind)) / hosts / (outcome.virtualMs / 1000),
    hops: hops / lookUps,
    questions: messages / lookUps,
  };
}

/** Twenty equal hosts a stage, near each other, and nothing that goes wrong. */
function scenarioOf(hosts: number): Scenario {
  const stages = hosts / REPLICAS;
  return {
    seed: 1,
    stages,
    microBatchesPerStep: MICRO_BATCHES,
    trainers: 1,
    hosts: Array.from({ length: hosts }, (_, index) => ({ peer: `host-${index}`, stage: index % stages })),
    forwardMs: 4,
    backwardMs: 8,
    slownessMax: 1,
    network: { regions: 4, latencyMsMax: 3, bytesPerSecondMin: 1e8, bytesPerSecondMax: 1e8 },
    snapshotEverySteps: 10,
    rebalanceEverySeconds: 0,
    breakMs: RUN_MS,
    boundMs: 600_000,
    churn: [],
    faults: [],
  };
}
