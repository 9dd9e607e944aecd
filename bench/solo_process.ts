/**
 * The same work in one process: trains a run with `trainSolo` and tells every
 * step as a JSON line. Started by `pipeline.ts`, with one JSON argument.
 */

import { RealClock } from "../actors/core/real_clock.ts";
import { holdLeash } from "../cli/leash.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { createStages, trainSolo } from "../stages/solo.ts";
import { readRun } from "./bench_swarm.ts";

/** What it is told. */
export interface SoloTask {
  readonly manifestPath: string;
  readonly textPath: string;
  /** Of one run of a program. */
  readonly threads: number;
  /** Steps after which to end. */
  readonly steps: number;
}

/** What it tells of a step. */
export interface SoloLine {
  readonly loss: number;
  readonly seconds: number;
}

async function main(task: SoloTask): Promise<void> {
  holdLeash().addEventListener("abort", () => Deno.exit());
  const clock = new RealClock();
  const { manifest, dataset } = await readRun(task);
  const device = new OnnxDevice({ threads: task.threads });
  const stages = await createStages(device, manifest);
  let startMs = clock.nowMs();
  for await (const { step, loss } of trainSolo({ manifest, dataset, stages })) {
    const nowMs = clock.nowMs();
    console.log(JSON.stringify({ loss, seconds: (nowMs - startMs) / 1000 } satisfies SoloLine));
    if (step >= task.steps) break;
    startMs = nowMs;
  }
  Deno.exit();
}

if (import.meta.main) await main(JSON.parse(Deno.args[0]));
