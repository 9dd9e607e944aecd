/** Folders of small models as Hugging Face lays them out, for tests that import and export. */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { publishedModel } from "../../run/mod.ts";
import { stageLayout } from "../../stages/mod.ts";
import { brainFloatFile, safetensorsFile } from "../../stages/testing/safetensors.ts";

/** What every family says: grouped queries, heads of a width of their own. */
const COMMON = {
  hidden_act: "silu",
  hidden_size: 12,
  intermediate_size: 20,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 8,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-6,
};

/** What a model of each family says of itself, in small. */
export const CONFIGS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "Llama 3": {
    ...COMMON,
    model_type: "llama",
    head_dim: 6,
    rope_theta: 5e5,
    rope_scaling: {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 16,
    },
    tie_word_embeddings: true,
    attention_dropout: 0,
  },
  "Mistral": {
    ...COMMON,
    model_type: "mistral",
    head_dim: null,
    hidden_size: 16,
    sliding_window: 24,
    bos_token_id: 1,
    tie_word_embeddings: false,
  },
  "Qwen2": {
    ...COMMON,
    model_type: "qwen2",
    hidden_size: 16,
    rope_theta: 1e6,
    use_sliding_window: false,
    sliding_window: 4,
    tie_word_embeddings: true,
  },
  "Qwen3": { ...COMMON, model_type: "qwen3", head_dim: 6, attention_bias: false, tie_word_embeddings: true },
};

const TOKENIZER = {
  version: "1.0",
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  model: { type: "BPE", unk_token: null, vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] },
};

/** What a folder holds. */
export interface FolderOptions {
  readonly config: Readonly<Record<string, unknown>>;
  readonly type?: "F32" | "BF16";
  /** Above 1 there is an index. Default 2. */
  readonly shards?: number;
}

/** Writes a model with weights that look like chance, and are always the same; whoever asked for it removes it. */
export async function publishedFolder({ config, type = "BF16", shards = 2 }: FolderOptions): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
  const json = JSON.stringify(config);
  const { model, tiedHead } = publishedModel(json);
  const whole = { index: 0, count: 1, firstLayer: 0, endLayer: model.layers, embedding: true, head: true };
  const parameters = stageLayout(model, whole).parameters
    .filter(({ name }) => !tiedHead || name !== "lm_head.weight");
  const tensors = parameters.map(({ name, shape, size }) => ({ name, shape, data: valuesOf(name, size) }));
  const write = (name: string, content: unknown) =>
    Deno.writeTextFile(join(folder, name), JSON.stringify(content));
  const index: Record<string, string> = {};
  const each = Math.ceil(tensors.length / shards);
  for (let shard = 0; shard < shards; shard++) {
    const file = shards === 1 ? "model.safetensors" : `model-0000${shard + 1}-of-0000${shards}.safetensors`;
    const part = tensors.slice(shard * each, (shard + 1) * each);
    await Deno.writeFile(join(folder, file), type === "BF16" ? brainFloatFile(part) : safetensorsFile(part));
    for (const { name } of part) index[name] = file;
  }
  if (shards > 1) await write("model.safetensors.index.json", { metadata: {}, weight_map: index });
  await Deno.writeTextFile(join(folder, "config.json"), json);
  await write("tokenizer.json", TOKENIZER);
  return folder;
}

/** Numbers that follow from a name: gains around 1, everything else around 0. */
function valuesOf(name: string, size: number): Float32Array {
  const seed = createHash("sha256").update(name).digest().readUInt32LE() % 1000;
  const middle = name.includes("norm") ? 1 : 0;
  return Float32Array.from(
    { length: size },
    (_, i) => middle + Math.sin(seed + 1.7 * i * (1 + seed / 1000)) / 3,
  );
}
