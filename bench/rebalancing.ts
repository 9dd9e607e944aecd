/**
 * What moving hosts between stages is worth: drawn traces of 32 hours of
 * pre-emptions, played against the decision alone (`sim/capacity_run.ts`). No
 * clock is read: the same seeds give the same figures on every machine.
 */

import { join } from "node:path";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { HOME_DIRECTORY } from "../cli/box.ts";
import { type CapacityRun, runCapacity } from "../sim/capacity_run.ts";
import { spotTrace } from "../sim/spot_trace.ts";
import { plotThroughput } from "../sim/throughput_plot.ts";
import type { BenchContext, BenchRow } from "./row.ts";

const HOURS = 32;
const STAGES = 4;
const SEEDS = 40;
const SEEDS_QUICK = 4;
const PERIOD_MS = 300_000;
const HYSTERESIS = 0.02;
/** A state of 5 GB over a link of 700 Mb/s. */
const FETCH_MS = 60_000;
/** Overall, on the trace that was theirs: what is published of SWARM, in percent. */
const PUBLISHED = { moving: 95.8, still: 82.7 };
/** The trace whose picture is drawn. */
const DRAWN = 1;
const FOLDER = join(HOME_DIRECTORY, "bench");

/** Some seconds. */
export async function* benchRebalancing(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  const seeds = Array.from({ length: context.quick ? SEEDS_QUICK : SEEDS }, (_, index) => index + 1);
  const runs = seeds.map(runsOf);
  const percent = (of: (runs: Runs) => number) =>
    100 * runs.reduce((sum, it) => sum + of(it), 0) / runs.length;
  const least = (of: (runs: Runs) => number) => (100 * Math.min(...runs.map(of))).toFixed(1);
  const name = (what: string) => `rebalancing: ${STAGES} stages, ${HOURS} h, ${seeds.length} traces, ${what}`;
  yield {
    name: name(`every 300 s (least ${least(({ moving }) => moving.share)})`),
    value: percent(({ moving }) => moving.share),
    unit: "% of the best",
    ratio: percent(({ moving }) => moving.share) / PUBLISHED.moving,
    to: `SWARM's ${PUBLISHED.moving} % on its trace`,
    target: { of: "value", atLeast: 97 },
  };
  yield {
    name: name(`the same, last hour (least ${least(({ moving }) => moving.shareOfLastHour)})`),
    value: percent(({ moving }) => moving.shareOfLastHour),
    unit: "% of the best",
    target: { of: "value", atLeast: 95 },
  };
  yield {
    name: name("nobody moves, newcomers go where they are needed"),
    value: percent(({ placed }) => placed.share),
    unit: "% of the best",
  };
  yield {
    name: name("the same, last hour"),
    value: percent(({ placed }) => placed.shareOfLastHour),
    unit: "% of the best",
  };
  yield {
    name: name("nobody moves, newcomers go anywhere"),
    value: percent(({ still }) => still.share),
    unit: "% of the best",
    ratio: percent(({ still }) => still.share) / PUBLISHED.still,
    to: `SWARM's ${PUBLISHED.still} % on its trace`,
  };
  await draw(runsOf(DRAWN));
  context.note(`rebalancing: the picture is in ${join(FOLDER, "rebalancing.svg")}`);
}

interface Runs {
  readonly moving: CapacityRun;
  readonly placed: CapacityRun;
  readonly still: CapacityRun;
}

function runsOf(seed: number): Runs {
  const trace = spotTrace({ seed, hours: HOURS });
  const play = (periodMs: number | undefined, placement: "neediest" | "anywhere") =>
    runCapacity({
      trace,
      hours: HOURS,
      stages: STAGES,
      periodMs,
      hysteresis: HYSTERESIS,
      placement,
      fetchMs: FETCH_MS,
      entropy: new SeededEntropy(seed),
    });
  return {
    moving: play(PERIOD_MS, "neediest"),
    placed: play(undefined, "neediest"),
    still: play(undefined, "anywhere"),
  };
}

async function draw({ moving, placed, still }: Runs): Promise<void> {
  const curve = (run: CapacityRun, of: "throughput" | "best") =>
    run.points.map((point) => ({ hour: point.hour, value: point[of] }));
  const picture = plotThroughput([
    { name: "the best there is", possible: true, points: curve(moving, "best") },
    { name: "moves every 300 s", points: curve(moving, "throughput") },
    { name: "newcomers where needed", points: curve(placed, "throughput") },
    { name: "newcomers anywhere", points: curve(still, "throughput") },
  ], { title: `${HOURS} hours of pre-emptions, trace ${DRAWN}`, unit: "hosts of the poorest stage" });
  await Deno.mkdir(FOLDER, { recursive: true });
  await Deno.writeTextFile(join(FOLDER, "rebalancing.svg"), picture);
}
