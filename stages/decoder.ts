/**
 * The graph of a slice of a decoder of the Llama family (Touvron et al., 2023):
 * embedding, layers of attention and SwiGLU around a residual stream, final
 * norm and head. It writes ops and computes nothing.
 *
 * Shapes: B sequences of T tokens, C wide, of a vocabulary of V.
 */

import { type Dimension, type Graph, GraphBuilder, type Value } from "../kernels/mod.ts";
import type { ModelConfig, Slice } from "../run/mod.ts";
import { BLOCK_TOKENS } from "./cache_blocks.ts";
import { EMBEDDING, FINAL_NORM, HEAD, layerNames, stageLayout } from "./parameters.ts";

/** Names of a slice's inputs and outputs, besides its parameters. */
export const Port = {
  /** i32 `[B, T]`, first slice. */
  tokens: "tokens",
  /** f32 `[B, T, C]`, later slices. */
  hidden: "hidden",
  /** i32 `[T]`. */
  positions: "positions",
  /** i32 `[B, T]`, last slice, to learn or to evaluate. */
  targets: "targets",
  /** f32 `[B, T, C]`, what all but the last slice yield. */
  activation: "activation",
  /** f32 `[1]`, sum over tokens. */
  loss: "loss",
  /** f32 `[B, V]` of the last position. */
  logits: "logits",
} as const;

/** Names of a slice's inputs for sessions, besides those. Tokens and hidden states are `[1, N]` and `[1, N, C]`. */
export const SessionPort = {
  /** i32 `[B, S]`: blocks of the pools, in the order of a sequence's positions; beyond its length, any. */
  blocks: "blocks",
  /** i32 `[B]`: positions that a sequence has behind it. */
  lengths: "lengths",
  /** i32 `[W]`: of the N new tokens those whose logits `[1, W, V]` are wanted. */
  at: "at",
} as const;

/** Names of what a layer reads of its pools, f32 `[P, Hkv, L, D]`, and yields for them, f32 `[1, N, Hkv·D]`. */
export function cacheNames(layer: number) {
  return {
    pastKeys: `pastKeys.${layer}`,
    pastValues: `pastValues.${layer}`,
    keys: `keys.${layer}`,
    values: `values.${layer}`,
  } as const;
}

/** What a slice yields. */
export type Ending = typeof Port.activation | typeof Port.loss | typeof Port.logits;

/**
 * @throws {TypeError} if the slice can't yield this: the last one yields loss
 *   or logits, all others an activation.
 */
export function decoderGraph(model: ModelConfig, slice: Slice, ending: Ending): Graph {
  if (slice.head === (ending === Port.activation)) {
    throw new TypeError(`Cannot build stage ${slice.index} of ${slice.count}: it yields no ${ending}`);
  }
  const writing = begin(model, slice);
  const { builder } = writing;
  const attention = headsOf(model);
  let hidden = layers(
    writing,
    model,
    slice,
    ["B", "T"],
    ({ query, key, value }) => builder.op("attention", [query, key, value], attention)[0],
  );

  if (ending === Port.activation) {
    builder.output(Port.activation, hidden);
    return builder.build();
  }
  // Only the last position's logits are wanted: don't pay for the others.
  if (ending === Port.logits) [hidden] = builder.op("takeLast", [hidden]);
  const logits = logitsOf(writing, model, hidden);
  if (ending === Port.logits) {
    builder.output(Port.logits, logits);
  } else {
    const targets = builder.input(Port.targets, "i32", ["B", "T"]);
    builder.output(Port.loss, builder.op("crossEntropy", [logits, targets])[0]);
  }
  return builder.build();
}

/**
 * The graph of a slice for sessions: N = B·T new tokens of B of them, one sequence after the other, whose
 * past keys and values lie in a pool for each layer, in blocks of L positions.
 *
 * @param options.wanted whether the last slice is to yield logits, of the rows at {@link SessionPort.at}.
 * @param options.single whether T is 1, for which devices may have a shorter way.
 */
export function sessionGraph(
  model: ModelConfig,
  slice: Slice,
  { wanted, single }: { readonly wanted: boolean; readonly single: boolean },
): Graph {
  const writing = begin(model, slice);
  const { builder } = writing;
  const blocks = builder.input(SessionPort.blocks, "i32", ["B", "S"]);
  const lengths = builder.input(SessionPort.lengths, "i32", ["B"]);
  const pool = ["P", model.keyValueHeads, BLOCK_TOKENS, model.headWidth];
  const attention = headsOf(model);
  const hidden = layers(writing, model, slice, [1, single ? "B" : "N"], ({ query, key, value, layer }) => {
    const names = cacheNames(layer);
    builder.output(names.keys, key);
    builder.output(names.values, value);
    const pastKeys = builder.input(names.pastKeys, "f32", pool);
    const pastValues = builder.input(names.pastValues, "f32", pool);
    return builder.op(
      "cachedAttention",
      [query, key, value, pastKeys, pastValues, blocks, lengths],
      attention,
    )[0];
  });
  if (!slice.head) {
    builder.output(Port.activation, hidden);
  } else if (wanted) {
    const at = builder.input(SessionPort.at, "i32", ["W"]);
    const [taken] = builder.op("takeRows", [hidden, at]);
    builder.output(Port.logits, logitsOf(writing, model, taken));
  }
  return builder.build();
}

/** A graph that is being written. */
interface Writing {
  readonly builder: GraphBuilder;
  /** The slice's parameter of this name. */
  readonly parameter: (name: string) => Value;
}

/** What attention is given in a layer: `[B, T, H·D]`, and `[B, T, Hkv·D]` twice. */
interface Attended {
  readonly query: Value;
  readonly key: Value;
  readonly value: Value;
  readonly layer: number;
}

function begin(model: ModelConfig, slice: Slice): Writing {
  const builder = new GraphBuilder();
  const parameters = new Map(
    stageLayout(model, slice).parameters.map(({ name, shape }) => [name, builder.input(name, "f32", shape)]),
  );
  const parameter = (name: string): Value => {
    const value = parameters.get(name);
    if (!value) throw new TypeError(`Cannot build stage ${slice.index}: it holds no ${name}`);
    return value;
  };
  return { builder, parameter };
}

/** From what a slice is given to its last hidden states. */
function layers(
  writing: Writing,
  model: ModelConfig,
  slice: Slice,
  shape: readonly [Dimension, Dimension],
  attend: (attended: Attended) => Value,
): Value {
  const { builder, parameter } = writing;
  const positions = builder.input(Port.positions, "i32", [shape[1]]);
  let hidden = slice.embedding
    ? builder.op("embedding", [builder.input(Port.tokens, "i32", shape), parameter(EMBEDDING)])[0]
    : builder.input(Port.hidden, "f32", [...shape, model.width]);
  for (let layer = slice.firstLayer; layer < slice.endLayer; layer++) {
    hidden = decoderLayer(writing, model, layer, hidden, positions, attend);
  }
  return hidden;
}

/** Final norm and head. */
function logitsOf({ builder, parameter }: Writing, model: ModelConfig, hidden: Value): Value {
  const [normed] = builder.op("rmsNorm", [hidden, parameter(FINAL_NORM)], { epsilon: model.normEpsilon });
  return builder.op("linear", [normed, parameter(HEAD)])[0];
}

function headsOf({ heads, keyValueHeads, headWidth }: ModelConfig) {
  return { heads, keyValueHeads, headWidth };
}

/** One layer, with the biases of Qwen2 or the norms of Qwen3 where the model has them: `[B, T, C]` → `[B, T, C]`. */
function decoderLayer(
  { builder, parameter }: Writing,
  model: ModelConfig,
  layer: number,
  hidden: Value,
  positions: Value,
  attend: (attended: Attended) => Value,
): Value {
  const { heads, keyValueHeads, headWidth, normEpsilon: epsilon } = model;
  const names = layerNames(layer);
  const product = (input: Value, name: string) => builder.op("linear", [input, parameter(name)])[0];
  const biased = (input: Value, name: string) =>
    model.attentionBias ? builder.op("addBias", [input, parameter(name)])[0] : input;
  /** Each head by itself. */
  const normed = (input: Value, heads: number, name: string) => {
    if (!model.queryKeyNorm) return input;
    const [split] = builder.op("splitHeads", [input], { heads });
    const [rows] = builder.op("rmsNorm", [split, parameter(name)], { epsilon });
    return builder.op("joinHeads", [rows])[0];
  };
  const turn = (input: Value, heads: number) =>
    builder.op("rope", [input, positions], {
      heads,
      headWidth,
      theta: model.ropeTheta,
      scaling: model.ropeScaling,
    })[0];

  const [before] = builder.op("rmsNorm", [hidden, parameter(names.attentionNorm)], { epsilon });
  const query = biased(product(before, names.query), names.queryBias);
  const key = biased(product(before, names.key), names.keyBias);
  const mixed = attend({
    query: turn(normed(query, heads, names.queryNorm), heads),
    key: turn(normed(key, keyValueHeads, names.keyNorm), keyValueHeads),
    value: biased(product(before, names.value), names.valueBias),
    layer,
  });
  const [attended] = builder.op("add", [hidden, product(mixed, names.attentionOut)]);

  const [between] = builder.op("rmsNorm", [attended, parameter(names.feedForwardNorm)], { epsilon });
  const [gated] = builder.op("swiglu", [product(between, names.gate), product(between, names.up)]);
  return builder.op("add", [attended, product(gated, names.down)])[0];
}
