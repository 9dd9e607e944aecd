/** Data that tests make themselves. */

import { byteTokenizer, Dataset, type Manifest, parseManifest } from "../run/mod.ts";

/** A manifest small enough for plain loops; `change` replaces fields. */
export function tinyManifest(change: Record<string, unknown> = {}): Manifest {
  return parseManifest(JSON.stringify({
    version: 1,
    name: "tiny",
    model: { family: "llama", vocabulary: 256, width: 16, layers: 3, heads: 2, keyValueHeads: 1, hidden: 24 },
    stages: 3,
    sequenceLength: 8,
    sequencesPerMicroBatch: 2,
    microBatchesPerStep: 4,
    steps: 30,
    optimizer: {
      kind: "adamw",
      learningRate: 0.01,
      minimumLearningRate: 0.001,
      warmupSteps: 5,
      decaySteps: 30,
    },
    seed: 7,
    tokenizer: { kind: "bytes" },
    validation: { fraction: 0.1, everySteps: 10, microBatches: 2 },
    ...change,
  }));
}

/** A text with something to learn: numbers counted in words. */
export function countingText(length: number): string {
  const words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
  let text = "";
  for (let number = 0; text.length < length; number++) {
    text += `${[...String(number)].map((digit) => words[Number(digit)]).join(" ")}, `;
  }
  return text.slice(0, length);
}

/** The dataset of a manifest over a counting text. */
export function countingDataset(manifest: Manifest): Dataset {
  return Dataset.fromTexts(manifest, byteTokenizer, [countingText(20_000)]);
}
