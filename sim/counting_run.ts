/**
 * A run whose arithmetic is counting: its micro-batches carry nothing but their
 * own names, so that a stage can tell which of them a gradient sum holds. It
 * learns nothing, and costs next to nothing.
 */

import { MICRO_BATCHES_MAX } from "../actors/limits.ts";
import { type Dataset, type Manifest, parseManifest, type TokenBatch } from "../run/mod.ts";

/** What of a counting run can be chosen. */
export interface CountingRun {
  readonly stages: number;
  readonly microBatchesPerStep: number;
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** Hosts that each stage needs before the run starts. Default 1. */
  readonly floor?: number;
  /** As in a manifest. */
  readonly rebalance?: Partial<Manifest["rebalance"]>;
  /** Tokens of the longest text. Default: {@link TOKENS_PER_MICRO_BATCH}, with which nobody can talk. */
  readonly sequenceLength?: number;
}

/** Tokens of a micro-batch: its step and its name. Longer ones end in zeros. */
export const TOKENS_PER_MICRO_BATCH = 2;

/** The manifest of a counting run: the smallest model that can be cut into so many stages. */
export function countingManifest(
  { stages, microBatchesPerStep, steps, floor = 1, rebalance = {}, sequenceLength = TOKENS_PER_MICRO_BATCH }:
    CountingRun,
): Manifest {
  return parseManifest(JSON.stringify({
    version: 1,
    name: "counting",
    model: { vocabulary: 256, width: 2, layers: stages, heads: 1, headWidth: 2, hidden: 1 },
    stages,
    sequenceLength,
    sequencesPerMicroBatch: 1,
    microBatchesPerStep,
    steps,
    // Without clipping no stage's numbers depend on another's.
    optimizer: { clipNorm: 0 },
    validation: { fraction: 0 },
    replicas: { floor, ceiling: 1024 },
    rebalance,
  }));
}

/**
 * Micro-batches that say which they are: `[1, T]`, step and name, as tokens and as targets.
 *
 * @param corpus number of the data that they are from.
 * @param sequenceLength T, as in the manifest.
 */
export function countingData(
  corpus = 0,
  sequenceLength = TOKENS_PER_MICRO_BATCH,
): Pick<Dataset, "corpus" | "microBatch" | "validationBatch"> {
  const batch = (step: number, microBatch: number): TokenBatch => {
    const tokens = new Int32Array(sequenceLength);
    tokens.set([step, corpus * MICRO_BATCHES_MAX + microBatch]);
    return { tokens, targets: tokens.slice() };
  };
  return {
    corpus: corpus.toString(16).padStart(64, "0"),
    microBatch: batch,
    validationBatch: (index) => batch(0, index),
  };
}

/** What a micro-batch's name holds. */
export function nameParts(name: number): { readonly microBatch: number; readonly corpus: number } {
  return { microBatch: name % MICRO_BATCHES_MAX, corpus: Math.floor(name / MICRO_BATCHES_MAX) };
}

/** Loss of a micro-batch, in nats over its tokens: another number for each, so that a sum tells what it holds. */
export function countingLoss(microBatch: number): number {
  return microBatch + 1;
}
