/** The truth that swarms are compared with: the same run in one process, on plain loops. */

import assert from "node:assert/strict";
import { ReferenceDevice } from "../kernels/mod.ts";
import type { Manifest } from "../run/mod.ts";
import { createStages, trainSolo } from "../stages/mod.ts";
import { countingDataset } from "./data.ts";

/** Loss of each step as one process finds it, and the final state hash of each stage. */
export async function soloLosses(manifest: Manifest): Promise<number[]> {
  const device = new ReferenceDevice();
  const losses: number[] = [];
  const stages = await createStages(device, manifest);
  for await (const { loss } of trainSolo({ manifest, dataset: countingDataset(manifest), stages })) {
    losses.push(loss);
  }
  await device.close();
  return losses;
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
