/** The truth that swarms are compared with: the same run in one process. */

import assert from "node:assert/strict";
import { type Device, ReferenceDevice } from "../kernels/mod.ts";
import type { Dataset, Manifest } from "../run/mod.ts";
import { createStages, stageLayout, trainSolo } from "../stages/mod.ts";
import { partition } from "../run/mod.ts";
import { countingDataset } from "./data.ts";

/** What one process found. */
export interface SoloRun {
  /** Mean loss of each step. */
  readonly losses: readonly number[];
  /** All parameters of each stage after the last step. */
  readonly weights: readonly Float32Array[];
}

/** Trains in this process, on plain loops unless told otherwise. */
export async function soloRun(
  manifest: Manifest,
  device: Device = new ReferenceDevice(),
  dataset: Pick<Dataset, "microBatch"> = countingDataset(manifest),
): Promise<SoloRun> {
  const stages = await createStages(device, manifest);
  const steps = await Array.fromAsync(trainSolo({ manifest, dataset, stages }));
  const weights = [];
  for (const stage of stages) {
    weights.push(weightsOf(manifest, stage.index, (await stage.exportState()).bytes));
  }
  await device.close();
  return { losses: steps.map(({ loss }) => loss), weights };
}

/** The parameters in the bytes of a stage's state: they come first, the moments follow. */
export function weightsOf(manifest: Manifest, stage: number, state: Uint8Array): Float32Array {
  const { size } = stageLayout(manifest.model, partition(manifest)[stage]);
  const header = state.length - 3 * 4 * size;
  return new Float32Array(state.slice(header, header + 4 * size).buffer);
}

/** Each value within a relative difference of the expected one. */
export function assertClose(
  actual: readonly number[],
  expected: readonly number[],
  tolerance: number,
  context = "",
): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, index) => {
    const difference = Math.abs(value - expected[index]) / Math.abs(expected[index]);
    assert.ok(
      difference <= tolerance,
      `${context} step ${index + 1}: ${value} against ${expected[index]}, off by ${difference}`,
    );
  });
}

/** The norm of the difference within a share of the expected norm. */
export function assertSameWeights(actual: Float32Array, expected: Float32Array, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  const share = Math.sqrt(difference / norm);
  assert.ok(share <= tolerance, `weights differ by ${share} of their norm, at most ${tolerance}`);
}
