/**
 * What a slice of the model holds: names, shapes and places of its parameters.
 * It holds no numbers. Names are those of Hugging Face's Llama, so that
 * published weights find their places.
 */

import type { ModelConfig, Slice } from "../run/mod.ts";

/** One parameter. */
export interface Parameter {
  /** As Hugging Face names it. */
  readonly name: string;
  /** `[C]` for gains and biases, `[out, in]` for matrices. */
  readonly shape: readonly number[];
  /** How many numbers it holds. */
  readonly size: number;
  /** Where it begins in the flat layout, in numbers. */
  readonly offset: number;
  /** What it begins with. */
  readonly start: "normal" | "ones" | "zeros";
  /** Whether weight decay pulls at it: at matrices, not at gains and biases. */
  readonly decays: boolean;
  /** Whether its product is added to the residual stream. */
  readonly residual: boolean;
}

/** All parameters of a slice, in the order in which gradients and states lay them out. */
export interface StageLayout {
  /** In their order. */
  readonly parameters: readonly Parameter[];
  /** Numbers in all of them. */
  readonly size: number;
}

/**
 * The order is that of the way forward: embedding, layer by layer, final norm,
 * head. Two ways to cut one model differ only in where this list is cut.
 */
export function stageLayout(model: ModelConfig, slice: Slice): StageLayout {
  const parameters: Parameter[] = [];
  let offset = 0;
  const add = (name: string, shape: readonly number[], residual = false) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const matrix = shape.length > 1;
    const start = matrix ? "normal" : name.endsWith(".bias") ? "zeros" : "ones";
    parameters.push({ name, shape, size, offset, start, decays: matrix, residual });
    offset += size;
  };

  const { width, hidden, vocabulary, heads, keyValueHeads, headWidth } = model;
  const queryWidth = heads * headWidth;
  const keyValueWidth = keyValueHeads * headWidth;
  if (slice.embedding) add(EMBEDDING, [vocabulary, width]);
  for (let layer = slice.firstLayer; layer < slice.endLayer; layer++) {
    const names = layerNames(layer);
    add(names.attentionNorm, [width]);
    add(names.query, [queryWidth, width]);
    add(names.key, [keyValueWidth, width]);
    add(names.value, [keyValueWidth, width]);
    if (model.attentionBias) {
      add(names.queryBias, [queryWidth]);
      add(names.keyBias, [keyValueWidth]);
      add(names.valueBias, [keyValueWidth]);
    }
    if (model.queryKeyNorm) {
      add(names.queryNorm, [headWidth]);
      add(names.keyNorm, [headWidth]);
    }
    add(names.attentionOut, [width, queryWidth], true);
    add(names.feedForwardNorm, [width]);
    add(names.gate, [hidden, width]);
    add(names.up, [hidden, width]);
    add(names.down, [width, hidden], true);
  }
  if (slice.head) {
    add(FINAL_NORM, [width]);
    add(HEAD, [vocabulary, width]);
  }
  return { parameters, size: offset };
}

/** `[V, C]` */
export const EMBEDDING = "model.embed_tokens.weight";
/** `[C]` */
export const FINAL_NORM = "model.norm.weight";
/** `[V, C]` */
export const HEAD = "lm_head.weight";

/** Names of one layer's parameters. */
export function layerNames(layer: number) {
  const prefix = `model.layers.${layer}`;
  return {
    attentionNorm: `${prefix}.input_layernorm.weight`,
    query: `${prefix}.self_attn.q_proj.weight`,
    key: `${prefix}.self_attn.k_proj.weight`,
    value: `${prefix}.self_attn.v_proj.weight`,
    queryBias: `${prefix}.self_attn.q_proj.bias`,
    keyBias: `${prefix}.self_attn.k_proj.bias`,
    valueBias: `${prefix}.self_attn.v_proj.bias`,
    queryNorm: `${prefix}.self_attn.q_norm.weight`,
    keyNorm: `${prefix}.self_attn.k_norm.weight`,
    attentionOut: `${prefix}.self_attn.o_proj.weight`,
    feedForwardNorm: `${prefix}.post_attention_layernorm.weight`,
    gate: `${prefix}.mlp.gate_proj.weight`,
    up: `${prefix}.mlp.up_proj.weight`,
    down: `${prefix}.mlp.down_proj.weight`,
  } as const;
}
