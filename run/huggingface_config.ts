/**
 * What a published model is, from its `config.json` as Hugging Face lays it out.
 * It refuses whatever this program would compute otherwise than its makers meant:
 * a model that answers nonsense is worse than none.
 */

import { z } from "zod";
import type { ModelConfig, RopeScaling } from "./manifest.ts";

/** A published model, as far as its configuration tells. */
export interface PublishedModel {
  /** In our terms. */
  readonly model: ModelConfig;
  /** Whether the head is the embedding, so that files hold it once. */
  readonly tiedHead: boolean;
  /** Positions that the model was taught. */
  readonly sequenceLength: number;
  /** Ids that end a text; there may be several. */
  readonly endOfText: readonly number[];
}

/** Families whose layers are those of Llama, with what they add to it. */
const FAMILIES: Readonly<
  Record<string, { readonly attentionBias: boolean; readonly queryKeyNorm: boolean }>
> = {
  llama: { attentionBias: false, queryKeyNorm: false },
  mistral: { attentionBias: false, queryKeyNorm: false },
  qwen2: { attentionBias: true, queryKeyNorm: false },
  qwen3: { attentionBias: false, queryKeyNorm: true },
};

const count = z.int().min(1).max(2 ** 31 - 1);
const positive = z.number().positive();
const id = z.int().min(0);
const ends = z.union([id, z.array(id).max(64)]).nullish();
const rope = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: positive.optional(),
});

const configSchema = z.looseObject({
  model_type: z.string(),
  hidden_act: z.string().default("silu"),
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  vocab_size: count,
  max_position_embeddings: count,
  rms_norm_eps: positive.default(1e-6),
  rope_theta: positive.nullish(),
  rope_scaling: rope.nullish(),
  rope_parameters: rope.nullish(),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  use_sliding_window: z.boolean().nullish(),
  sliding_window: count.nullish(),
  layer_types: z.array(z.string()).max(4096).nullish(),
  quantization_config: z.unknown().optional(),
  num_experts: z.number().nullish(),
  num_local_experts: z.number().nullish(),
  partial_rotary_factor: z.number().nullish(),
  eos_token_id: ends,
});

const generationSchema = z.looseObject({ eos_token_id: ends });

const linearSchema = z.looseObject({ factor: positive });
const llama3Schema = z.looseObject({
  factor: positive,
  low_freq_factor: positive,
  high_freq_factor: positive,
  original_max_position_embeddings: count,
});

/**
 * Reads a `config.json`. Its numbers are not held to a manifest's bounds here: `parseManifest` does that.
 *
 * @throws {TypeError} if it is no configuration, or one of a model that can't be computed faithfully.
 */
export function publishedModel(json: string): PublishedModel {
  const config = parse(configSchema, json);
  const { model_type: kind, hidden_act: activation } = config;
  if (!Object.hasOwn(FAMILIES, kind)) {
    refuse(`model_type is ${quote(kind)}, expected one of ${Object.keys(FAMILIES).join(", ")}`);
  }
  if (activation !== "silu") refuse(`hidden_act is ${quote(activation)}, expected "silu"`);
  if (config.mlp_bias) refuse("mlp_bias is true, expected false");
  if (config.attention_bias) refuse("attention_bias is true, expected false");
  const turned = config.partial_rotary_factor ?? 1;
  if (turned !== 1) refuse(`partial_rotary_factor is ${turned}, expected 1`);

  if (config.quantization_config != null) refuse("its weights are quantized, expected F32, F16 or BF16");
  if (config.num_experts || config.num_local_experts) refuse("its layers are mixtures of experts");
  const kinds = new Set(config.layer_types ?? []);
  const strange = [...kinds].find((it) => it !== "full_attention" && it !== "sliding_attention");
  if (strange !== undefined) refuse(`layer_types names ${quote(strange)}, expected "full_attention"`);

  const window =
    kinds.size > 0 && !kinds.has("sliding_attention") || !heedsWindow(kind, config.use_sliding_window)
      ? undefined
      : config.sliding_window ?? undefined;
  const heads = config.num_attention_heads;
  const positions = config.rope_parameters ?? config.rope_scaling ?? undefined;
  return {
    model: {
      family: "llama",
      vocabulary: config.vocab_size,
      width: config.hidden_size,
      layers: config.num_hidden_layers,
      heads,
      keyValueHeads: config.num_key_value_heads ?? heads,
      headWidth: config.head_dim ?? config.hidden_size / heads,
      hidden: config.intermediate_size,
      ropeTheta: config.rope_parameters?.rope_theta ?? config.rope_theta ?? 10_000,
      ropeScaling: positions === undefined ? { kind: "none" } : scalingOf(positions),
      normEpsilon: config.rms_norm_eps,
      ...FAMILIES[kind],
    },
    tiedHead: config.tie_word_embeddings,
    // Within its window a model with a window is one without.
    sequenceLength: Math.min(config.max_position_embeddings, window ?? Infinity),
    endOfText: [config.eos_token_id ?? []].flat(),
  };
}

/** Mistral's window holds wherever one is named; Qwen says whether to heed it; Llama has none. */
function heedsWindow(kind: string, said: boolean | null | undefined): boolean {
  return kind === "mistral" ? said !== false : said === true;
}

/**
 * Ids that end a text, from a `generation_config.json`: they go before those of `config.json`.
 *
 * @throws {TypeError} if it is none.
 */
export function publishedEndOfText(json: string): readonly number[] {
  return [parse(generationSchema, json, "generation_config.json").eos_token_id ?? []].flat();
}

function scalingOf(given: z.output<typeof rope>): RopeScaling {
  const kind = given.rope_type ?? given.type ?? "default";
  switch (kind) {
    case "default":
      return { kind: "none" };
    case "linear":
      return { kind, factor: check(linearSchema, given, "rope_scaling").factor };
    case "llama3": {
      const scaling = check(llama3Schema, given, "rope_scaling");
      return {
        kind,
        factor: scaling.factor,
        lowFrequencyFactor: scaling.low_freq_factor,
        highFrequencyFactor: scaling.high_freq_factor,
        originalLength: scaling.original_max_position_embeddings,
      };
    }
    default:
      return refuse(`rope_scaling is of type ${quote(kind)}, expected default, linear or llama3`);
  }
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  json: string,
  file = "config.json",
): z.output<Schema> {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return refuse("it is no JSON", file);
  }
  return check(schema, raw, "config", file);
}

function check<Schema extends z.ZodType>(
  schema: Schema,
  raw: unknown,
  what: string,
  file?: string,
): z.output<Schema> {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0];
  return refuse(`${[what, ...path].join(".")}: ${message}`, file);
}

function refuse(why: string, file = "config.json"): never {
  throw new TypeError(`Cannot read ${file}: ${why}`);
}

/** A stranger's text must not flood or steer a terminal. */
function quote(text: string): string {
  return JSON.stringify(text.slice(0, 40).replaceAll(/[^\x20-\x7e]/g, "?"));
}
