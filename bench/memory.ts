/**
 * Whether memory grows over a long run: resident memory of every process of a
 * swarm, sampled while it trains. It tells of growth, not of its cause.
 */

import { join } from "node:path";
import { REPOSITORY } from "../cli/box.ts";
import { readManifest } from "../cli/manifest_file.ts";
import { openRun, startSwarm } from "./bench_swarm.ts";
import { MemoryCurves, memoryRow } from "./resident.ts";
import type { BenchContext, BenchRow } from "./row.ts";

/** Hosts of each stage: two, so that sums are exchanged. */
const REPLICAS = 2;
/** Points of each curve. */
const SAMPLES = 400;

/** How long. */
export interface MemoryOptions {
  readonly steps: number;
  /** Ends the run earlier. */
  readonly minutes?: number;
  /** Manifest of the run; without it `runs/tiny.json`. */
  readonly run?: string;
}

/** Measures for as long as it is told to. */
export async function* benchMemory(
  context: BenchContext,
  options: MemoryOptions,
): AsyncGenerator<BenchRow, void, void> {
  const curves = new MemoryCurves();
  const path = options.run ?? join(REPOSITORY, "runs", "tiny.json");
  // As a stranger would write it: with nothing filled in.
  const source = JSON.parse(await Deno.readTextFile(path));
  const manifest = await readManifest(path);
  await using run = await openRun({ ...source, steps: Math.max(source.steps, options.steps) });
  await using processes = await startSwarm(context, run, REPLICAS);

  const limitMs = options.minutes === undefined ? Infinity : options.minutes * 60_000;
  const flags = ["--steps", `${options.steps}`];
  const startedMs = context.clock.nowMs();
  let taken = 0;
  let samples = 0;
  for await (const event of processes.swarm.train(run.textPath, join(run.folder, "output"), flags)) {
    if (event.kind === "lost") context.note(`memory: lost a host of stage ${event.stage}: ${event.reason}`);
    if (event.kind !== "step") continue;
    taken = event.step;
    const elapsedMs = context.clock.nowMs() - startedMs;
    // As many samples of a run that time ends as of one that its steps end.
    const share = Math.max(event.step / options.steps, elapsedMs / limitMs);
    if (share < samples / SAMPLES && elapsedMs < limitMs) continue;
    samples++;
    await curves.sample(processes.swarm.processes, event.step);
    if (elapsedMs >= limitMs) break;
    if (samples % (SAMPLES / 10) === 0) {
      context.note(`memory: step ${event.step} of ${options.steps}, ${Math.round(elapsedMs / 1000)} s`);
    }
  }
  const title = `${manifest.name}: ${taken} steps, ${REPLICAS} hosts of each stage`;
  context.note(`memory: the picture is in ${await curves.save("memory", title, "optimizer steps")}`);
  for (const curve of curves.all) yield memoryRow(curve, "steps");
}
