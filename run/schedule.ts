/**
 * The learning rate of each step: linear warm-up, then half a cosine down to
 * the minimum, then the minimum. It remembers nothing between steps.
 *
 * One peer computes it and sends the number along, because engines may round
 * `Math.cos` differently in the last bit.
 */

import type { OptimizerConfig } from "./manifest.ts";

/**
 * The learning rate of one step.
 *
 * @param step optimizer steps taken before this one, from 0.
 * @returns learning rate of this step. Step 0 already learns: its rate is
 *   1/(warmupSteps + 1) of the peak.
 */
export function learningRate(
  optimizer: Pick<
    OptimizerConfig,
    "learningRate" | "minimumLearningRate" | "warmupSteps" | "decaySteps"
  >,
  step: number,
): number {
  const { learningRate: peak, minimumLearningRate: floor, warmupSteps, decaySteps } = optimizer;
  if (step < warmupSteps) return peak * (step + 1) / (warmupSteps + 1);
  if (step >= decaySteps) return floor;
  const done = (step - warmupSteps) / (decaySteps - warmupSteps);
  return floor + 0.5 * (1 + Math.cos(Math.PI * done)) * (peak - floor);
}
