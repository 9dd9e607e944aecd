/**
 * A whole optimizer step of a stage on a device: micro-batches forward and
 * backward, their gradient sum read, and the update. It measures nothing.
 */

import type { Device, HostTensor } from "../kernels/mod.ts";
import { type Manifest, parseManifest } from "../run/mod.ts";
import { CompiledStage } from "../stages/mod.ts";

/** Micro-batches of a step. */
const MICRO_BATCHES = 4;

/** A run of one stage whose products are about as large as a `size`³ one. */
export function stageManifest(size: number, precision: "f32" | "f16"): Manifest {
  const length = Math.min(1024, size / 2);
  const width = size / 2;
  return parseManifest(JSON.stringify({
    version: 1,
    name: "bench-webgpu",
    model: {
      family: "llama",
      vocabulary: size * 4,
      width,
      layers: 4,
      heads: Math.max(1, width / 64),
    },
    stages: 1,
    sequenceLength: length,
    sequencesPerMicroBatch: size / length,
    microBatchesPerStep: MICRO_BATCHES,
    steps: 1000,
    seed: 5,
    tokenizer: { kind: "bytes" },
    validation: { fraction: 0 },
    precision,
  }));
}

/** A stage that takes steps. */
export interface StageSteps extends AsyncDisposable {
  /** Tokens of a step. */
  readonly tokens: number;
  step(): Promise<void>;
}

/** Opens the only stage of a run. Closing it leaves the device open. */
export async function openStage(device: Device, manifest: Manifest): Promise<StageSteps> {
  const stage = await CompiledStage.create({ device, manifest, index: 0 });
  const { sequencesPerMicroBatch: sequences, sequenceLength: length, model } = manifest;
  const tokens = Array.from({ length: MICRO_BATCHES }, (_, microBatch): HostTensor => ({
    dataType: "i32",
    shape: [sequences, length],
    data: Int32Array.from({ length: sequences * length }, (_, i) => (i * 31 + microBatch) % model.vocabulary),
  }));
  const perStep = MICRO_BATCHES * sequences * length;
  return {
    tokens: perStep,
    async step() {
      // Overlapped as far as the stage allows.
      await Promise.all(tokens.map(async (input, microBatch) => {
        const key = `${microBatch}`;
        await stage.forward(key, input, input, { keep: true });
        await stage.backward(key, undefined, { accumulate: true });
      }));
      const gradientSum = await stage.gradientSum();
      await stage.apply({ gradientSum, scale: 1 / perStep, learningRate: 1e-4 });
    },
    [Symbol.asyncDispose]: () => stage.close(),
  };
}
