/**
 * What a run's model is to others: a `config.json`, and for the tokenizer of
 * bytes a `tokenizer.json`, as Hugging Face lays them out. It is the way back of
 * `huggingface_config.ts`; what that can't read is not written.
 */

import { canonicalJson } from "./canonical_json.ts";
import { publishedModel } from "./huggingface_config.ts";
import type { Manifest, ModelConfig } from "./manifest.ts";

/** Element types of published weights, as `config.json` calls them. */
const TYPE_NAMES = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;

/** What a configuration says besides the model. */
export interface PublishedState {
  /** Of the weights' elements. */
  readonly type: "F32" | "F16" | "BF16";
  /** Ids that end a text. */
  readonly endOfText: readonly number[];
  /** Hash of the run's manifest. */
  readonly run: string;
  /** Optimizer steps that the weights have taken. */
  readonly step: number;
}

/**
 * A `config.json`. Head and embedding are two: they may have parted in training.
 *
 * @param original contents of the `config.json` that the run was made of, if it is there. It is gone on
 *   with if it is of this model: it may say more than a manifest does.
 * @throws {TypeError} if no published family has such layers.
 */
export function publishedConfig(manifest: Manifest, state: PublishedState, original?: string): string {
  const { type, endOfText, run, step } = state;
  const { dtype: _, ...fields } = continued(manifest.model, original) ?? configOf(manifest);
  const config = {
    ...fields,
    ...endOfText.length === 0 ? {} : { eos_token_id: endOfText.length === 1 ? endOfText[0] : endOfText },
    tie_word_embeddings: false,
    torch_dtype: TYPE_NAMES[type],
    murmuration: { run, step },
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function continued(model: ModelConfig, original: string | undefined): Record<string, unknown> | undefined {
  try {
    const same = original !== undefined &&
      canonicalJson(publishedModel(original).model) === canonicalJson(model);
    return same ? JSON.parse(original) : undefined;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return undefined;
  }
}

function configOf({ model, sequenceLength }: Manifest): Record<string, unknown> {
  const [family, architecture] = familyOf(model);
  return {
    architectures: [architecture],
    model_type: family,
    hidden_act: "silu",
    hidden_size: model.width,
    intermediate_size: model.hidden,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.keyValueHeads,
    head_dim: model.headWidth,
    vocab_size: model.vocabulary,
    max_position_embeddings: sequenceLength,
    rms_norm_eps: model.normEpsilon,
    rope_theta: model.ropeTheta,
    rope_scaling: scalingOf(model),
    attention_bias: false,
    use_cache: true,
  };
}

function familyOf(model: ModelConfig): readonly [family: string, architecture: string] {
  if (model.attentionBias && model.queryKeyNorm) {
    throw new TypeError("Cannot write config.json: no published family has both biases and norms of heads");
  }
  if (model.attentionBias) {
    if (model.heads * model.headWidth !== model.width) {
      throw new TypeError("Cannot write config.json: heads of Qwen2 are together as wide as the model");
    }
    return ["qwen2", "Qwen2ForCausalLM"];
  }
  return model.queryKeyNorm ? ["qwen3", "Qwen3ForCausalLM"] : ["llama", "LlamaForCausalLM"];
}

function scalingOf({ ropeScaling: scaling }: ModelConfig): Record<string, unknown> | null {
  switch (scaling.kind) {
    case "none":
      return null;
    case "linear":
      return { rope_type: "linear", factor: scaling.factor };
    case "llama3":
      return {
        rope_type: "llama3",
        factor: scaling.factor,
        low_freq_factor: scaling.lowFrequencyFactor,
        high_freq_factor: scaling.highFrequencyFactor,
        original_max_position_embeddings: scaling.originalLength,
      };
  }
}

/** A `tokenizer.json` whose tokens are the bytes of a text's UTF-8, each its own id. */
export function byteTokenizerFile(): string {
  const vocab = Object.fromEntries(byteCharacters().map((character, byte) => [character, byte]));
  return `${
    JSON.stringify({
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
      post_processor: null,
      decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        vocab,
        merges: [],
      },
    })
  }\n`;
}

/**
 * The characters by which byte-level tokenizers write bytes (GPT-2): Latin-1 ones that show something stand
 * for themselves, the others for what follows it, in order.
 */
function byteCharacters(): readonly string[] {
  let hidden = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const shows = byte > 0x20 && byte < 0x7f || byte > 0xa0 && byte !== 0xad;
    return String.fromCodePoint(shows ? byte : 256 + hidden++);
  });
}
