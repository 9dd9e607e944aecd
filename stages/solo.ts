/**
 * The whole run in one process, stage after stage, micro-batch after
 * micro-batch: the truth that a swarm is compared with, written to be read. It
 * knows no peers, loses nothing, and hurries nowhere.
 */

import { type Device, type HostTensor, squareSum } from "../kernels/mod.ts";
import {
  type Dataset,
  learningRate,
  type Manifest,
  partition,
  type TokenBatch,
  updateScale,
} from "../run/mod.ts";
import { CompiledStage } from "./compiled_stage.ts";
import type { Stage } from "./stage.ts";

/** What one step found. */
export interface SoloStep {
  /** Optimizer steps taken, this one included. */
  readonly step: number;
  /** Mean over the step's tokens of the cross-entropy before the step, in nats. */
  readonly loss: number;
  /** Norm of the whole model's mean gradient, before clipping. */
  readonly gradientNorm: number;
}

/** All stages of a run on one device, freshly initialised; closing them is the caller's. */
export async function createStages(device: Device, manifest: Manifest): Promise<CompiledStage[]> {
  const stages: CompiledStage[] = [];
  for (const { index } of partition(manifest)) {
    stages.push(await CompiledStage.create({ device, manifest, index }));
  }
  return stages;
}

/**
 * Trains, one step for each value that is taken from it, from the step where
 * the stages stand to the last of the manifest.
 *
 * @param stages all of the run, in their order; they stay the caller's.
 */
export async function* trainSolo(
  { manifest, dataset, stages }: {
    readonly manifest: Manifest;
    readonly dataset: Pick<Dataset, "microBatch">;
    readonly stages: readonly Stage[];
  },
): AsyncGenerator<SoloStep, void, void> {
  for (let step = stages[0].step; step < manifest.steps; step++) {
    let lossSum = 0;
    let tokens = 0;
    for (let index = 0; index < manifest.microBatchesPerStep; index++) {
      const found = await learn(manifest, stages, `${step}/${index}`, dataset.microBatch(step, index));
      lossSum += found.lossSum;
      tokens += found.tokens;
    }

    const sums = [];
    for (const stage of stages) sums.push(await stage.gradientSum());
    const squares = sums.reduce((total, sum) => total + squareSum(sum), 0);
    const { scale, gradientNorm } = updateScale(squares, tokens, manifest.optimizer.clipNorm);
    const rate = learningRate(manifest.optimizer, step);
    for (const [index, stage] of stages.entries()) {
      await stage.apply({ gradientSum: sums[index], scale, learningRate: rate });
    }
    yield { step: step + 1, loss: lossSum / tokens, gradientNorm };
  }
}

/**
 * Mean cross-entropy in nats over the manifest's validation micro-batches;
 * nothing is learnt and nothing kept.
 */
export async function validateSolo(
  { manifest, dataset, stages }: {
    readonly manifest: Manifest;
    readonly dataset: Dataset;
    readonly stages: readonly Stage[];
  },
): Promise<number> {
  let lossSum = 0;
  let tokens = 0;
  for (let index = 0; index < manifest.validation.microBatches; index++) {
    const key = `validation/${index}`;
    const found = await forward(manifest, stages, key, dataset.validationBatch(index), { keep: false });
    lossSum += found.lossSum;
    tokens += found.tokens;
  }
  return lossSum / tokens;
}

/** One micro-batch there and back, counted by every stage. */
async function learn(manifest: Manifest, stages: readonly Stage[], key: string, batch: TokenBatch) {
  const found = await forward(manifest, stages, key, batch, { keep: true });
  let gradient: HostTensor | undefined;
  for (const stage of stages.toReversed()) {
    gradient = await stage.backward(key, gradient, { accumulate: true });
  }
  return found;
}

async function forward(
  manifest: Manifest,
  stages: readonly Stage[],
  key: string,
  batch: TokenBatch,
  options: { readonly keep: boolean },
): Promise<{ readonly lossSum: number; readonly tokens: number }> {
  const shape = [manifest.sequencesPerMicroBatch, manifest.sequenceLength];
  let input: HostTensor = { dataType: "i32", shape, data: batch.tokens };
  for (const stage of stages) {
    const targets: HostTensor | undefined = stage.index === stage.count - 1
      ? { dataType: "i32", shape, data: batch.targets }
      : undefined;
    const result = await stage.forward(key, input, targets, options);
    if (result.kind === "loss") return result;
    if (result.kind === "activation") input = result.activation;
  }
  throw new TypeError(`Cannot forward micro-batch ${key}: no stage yielded a loss`);
}
