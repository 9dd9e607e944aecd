/**
 * A published model, made by a test, that real processes serve: its folder, its run,
 * its hosts without a trainer, and what one process makes of a text.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { LocalHost, LocalSwarm } from "../cli/local_swarm.ts";
import { readManifest, readTokenizer } from "../cli/manifest_file.ts";
import { CONFIGS, publishedFolder } from "../cli/testing/published_folder.ts";
import { withRunningSwarm } from "../cli/testing/running_swarm.ts";
import { beginWithWeights } from "../cli/weight_files.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { partition, type Sampling } from "../run/mod.ts";
import { CompiledStage, continueSolo } from "../stages/mod.ts";

/** As many letters, so that a text can be anything. */
const LETTERS = {
  version: "1.0",
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: "Fuse" },
  model: {
    type: "BPE",
    unk_token: null,
    vocab: Object.fromEntries(Array.from("abcdefghijklmnopqrstuvwxyz ", (letter, id) => [letter, id])),
    merges: [],
  },
};

/** Writes a small model of letters; whoever asked for it removes the folder. */
export async function lettersFolder(): Promise<string> {
  const config = {
    ...CONFIGS["Llama 3"],
    hidden_size: 32,
    head_dim: 8,
    intermediate_size: 48,
    num_hidden_layers: 4,
    vocab_size: 32,
    max_position_embeddings: 128,
  };
  const folder = await publishedFolder({ config });
  await Deno.writeTextFile(join(folder, "tokenizer.json"), JSON.stringify(LETTERS));
  return folder;
}

/** Makes a run of a model's folder, as a person does. @returns its manifest's path. */
export async function importModel(folder: string, stages: number, ...more: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "-A",
      new URL("../cli/import.ts", import.meta.url).pathname,
      ...["--model", folder, "--stages", String(stages), "--json", ...more],
    ],
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout)).manifest;
}

/** What one process makes of a text: the truth. */
export async function soloIds(
  run: string,
  prompt: string,
  tokens: number,
  sampling: Sampling,
): Promise<number[]> {
  const manifest = await readManifest(run);
  const tokenizer = await readTokenizer(run, manifest);
  await using device = { it: new OnnxDevice(), [Symbol.asyncDispose]: () => device.it.close() };
  const stages: CompiledStage[] = [];
  try {
    for (const { index } of partition(manifest)) {
      const stage = await CompiledStage.create({ device: device.it, manifest, index });
      await beginWithWeights(stage, run, manifest);
      stages.push(stage);
    }
    const drawn = await Array.fromAsync(continueSolo({
      stages,
      key: "truth",
      prompt: tokenizer.encode(prompt),
      tokens,
      sampling: { ...sampling, vocabulary: tokenizer.vocabulary },
    }));
    return drawn.map(({ token }) => token);
  } finally {
    for (const stage of stages) await stage.close();
  }
}

/** A swarm without a trainer: as many hosts of each stage as are wanted. */
export async function withHosts(
  { run, replicas }: { readonly run: string; readonly replicas: readonly number[] },
  test: (swarm: LocalSwarm, hosts: readonly LocalHost[]) => Promise<void>,
): Promise<void> {
  const stages = replicas.flatMap((count, stage) => Array<number>(count).fill(stage));
  await withRunningSwarm(run, async (swarm) => {
    await test(swarm, await Promise.all(stages.map((stage) => swarm.startHost(stage))));
  });
}
