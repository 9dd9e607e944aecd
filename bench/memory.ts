/**
 * Whether memory grows over a long run: resident memory of every process of a
 * swarm, sampled while it trains. It tells of growth, not of its cause.
 *
 * A process that has just started grows until its caches and pools are filled,
 * so the slope is fitted to the second half of the run alone. Memory also rises
 * and falls as garbage is collected, by tens of MB in periods of minutes: a run
 * that sees few of them has a slope that means nothing, and the least of a
 * quarter tells more than any single moment.
 */

import { join } from "node:path";
import { HOME_DIRECTORY, REPOSITORY } from "../cli/box.ts";
import { readManifest } from "../cli/manifest_file.ts";
import { type BenchSwarm, openRun, startSwarm } from "./bench_swarm.ts";
import { fitLine } from "./fit.ts";
import { type MemoryCurve, plotMemory } from "./memory_plot.ts";
import type { BenchContext, BenchRow } from "./row.ts";

/** Hosts of each stage: two, so that sums are exchanged. */
const REPLICAS = 2;
/** Points of each curve. */
const SAMPLES = 400;
/** Where the picture and its numbers go. */
const FOLDER = join(HOME_DIRECTORY, "bench");

/** How long. */
export interface MemoryOptions {
  readonly steps: number;
  /** Ends the run earlier. */
  readonly minutes?: number;
  /** Manifest of the run; without it `runs/tiny.json`. */
  readonly run?: string;
}

/** Measures for as long as it is told to. Linux only: elsewhere nobody says what another process holds. */
export async function* benchMemory(
  context: BenchContext,
  options: MemoryOptions,
): AsyncGenerator<BenchRow, void, void> {
  if (Deno.build.os !== "linux") {
    throw new Error("Cannot sample memory: it is read from /proc, which is Linux's");
  }
  const path = options.run ?? join(REPOSITORY, "runs", "tiny.json");
  // As a stranger would write it: with nothing filled in.
  const source = JSON.parse(await Deno.readTextFile(path));
  const manifest = await readManifest(path);
  await using run = await openRun({ ...source, steps: Math.max(source.steps, options.steps) });
  await using processes = await startSwarm(context, run, REPLICAS);

  const limitMs = options.minutes === undefined ? Infinity : options.minutes * 60_000;
  const flags = ["--steps", `${options.steps}`];
  const curves = new Map<string, MemoryCurve>();
  const startedMs = context.clock.nowMs();
  let taken = 0;
  let due = 0;
  for await (const event of processes.swarm.train(run.textPath, join(run.folder, "output"), flags)) {
    if (event.kind === "lost") context.note(`memory: lost a host of stage ${event.stage}: ${event.reason}`);
    if (event.kind !== "step") continue;
    taken = event.step;
    const elapsedMs = context.clock.nowMs() - startedMs;
    // As many samples of a run that time ends as of one that its steps end.
    const share = Math.max(event.step / options.steps, elapsedMs / limitMs);
    if (share < due && elapsedMs < limitMs) continue;
    due += 1 / SAMPLES;
    await sample(processes, curves, event.step);
    if (elapsedMs >= limitMs) break;
    if (curves.get("trainer")!.points.length % (SAMPLES / 10) === 0) {
      context.note(`memory: step ${event.step} of ${options.steps}, ${Math.round(elapsedMs / 1000)} s`);
    }
  }
  const all = [...curves.values()];
  await save(all, `${manifest.name}: ${taken} steps, ${REPLICAS} hosts of each stage`);
  context.note(`memory: the picture is in ${join(FOLDER, "memory.svg")}`);
  for (const curve of all) yield rowOf(curve);
}

/** After a tenth, middle and end; the slope over the second half, and what lies under it. */
function rowOf({ name, points }: MemoryCurve): BenchRow {
  const at = (share: number) => points[Math.round(share * (points.length - 1))].megabytes;
  const between = (from: number, to: number) => points.slice(from * points.length, to * points.length);
  const least = (some: MemoryCurve["points"]) => Math.min(...some.map(({ megabytes }) => megabytes));
  const half = between(0.5, 1).map(({ step, megabytes }) => [step / 1000, megabytes] as const);
  const [start, middle, end] = [at(0.1), at(0.5), at(1)].map((value) => value.toFixed(0));
  return {
    name: `memory: ${name}, ${start} → ${middle} → ${end} MB`,
    value: fitLine(half).slope,
    unit: "MB per 1000 steps",
    ratio: least(between(0.75, 1)) / least(between(0.5, 0.75)),
    to: "the quarter before, least by least",
  };
}

async function sample({ swarm }: BenchSwarm, curves: Map<string, MemoryCurve>, step: number): Promise<void> {
  for (const { name, pid } of swarm.processes) {
    const megabytes = await residentMegabytes(pid);
    if (megabytes === undefined) continue;
    const curve = curves.getOrInsertComputed(name, () => ({ name, points: [] }));
    curve.points.push({ step, megabytes });
  }
}

/** `undefined` where the process has just ended. */
async function residentMegabytes(pid: number): Promise<number | undefined> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "");
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024 / 1e6;
}

async function save(curves: readonly MemoryCurve[], title: string): Promise<void> {
  await Deno.mkdir(FOLDER, { recursive: true });
  await Deno.writeTextFile(join(FOLDER, "memory.svg"), plotMemory(curves, title));
  await Deno.writeTextFile(
    join(FOLDER, "memory.json"),
    JSON.stringify({ title, curves }, undefined, 1) + "\n",
  );
}
