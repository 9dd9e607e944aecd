/**
 * The graph of a slice of a decoder of the Llama family (Touvron et al., 2023):
 * embedding, layers of attention and SwiGLU around a residual stream, final
 * norm and head. It writes ops and computes nothing.
 *
 * Shapes: B sequences of T tokens, C wide, of a vocabulary of V.
 */

import { type Graph, GraphBuilder, type Value } from "../kernels/mod.ts";
import type { ModelConfig, Slice } from "../run/mod.ts";
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
  const builder = new GraphBuilder();
  const parameters = new Map(
    stageLayout(model, slice).parameters.map(({ name, shape }) => [name, builder.input(name, "f32", shape)]),
  );
  const parameter = (name: string): Value => {
    const value = parameters.get(name);
    if (!value) throw new TypeError(`Cannot build stage ${slice.index}: it holds no ${name}`);
    return value;
  };

  const positions = builder.input(Port.positions, "i32", ["T"]);
  let hidden = slice.embedding
    ? builder.op("embedding", [builder.input(Port.tokens, "i32", ["B", "T"]), parameter(EMBEDDING)])[0]
    : builder.input(Port.hidden, "f32", ["B", "T", model.width]);
  for (let layer = slice.firstLayer; layer < slice.endLayer; layer++) {
    hidden = decoderLayer(builder, model, layer, parameter, hidden, positions);
  }

  if (ending === Port.activation) {
    builder.output(Port.activation, hidden);
    return builder.build();
  }
  // Only the last position's logits are wanted: don't pay for the others.
  if (ending === Port.logits) [hidden] = builder.op("takeLast", [hidden]);
  const [normed] = builder.op("rmsNorm", [hidden, parameter(FINAL_NORM)], { epsilon: model.normEpsilon });
  const [logits] = builder.op("linear", [normed, parameter(HEAD)]);
  if (ending === Port.logits) {
    builder.output(Port.logits, logits);
  } else {
    const targets = builder.input(Port.targets, "i32", ["B", "T"]);
    builder.output(Port.loss, builder.op("crossEntropy", [logits, targets])[0]);
  }
  return builder.build();
}

/** One layer, with the biases of Qwen2 or the norms of Qwen3 where the model has them: `[B, T, C]` → `[B, T, C]`. */
function decoderLayer(
  builder: GraphBuilder,
  model: ModelConfig,
  layer: number,
  parameter: (name: string) => Value,
  hidden: Value,
  positions: Value,
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
  const [mixed] = builder.op("attention", [
    turn(normed(query, heads, names.queryNorm), heads),
    turn(normed(key, keyValueHeads, names.keyNorm), keyValueHeads),
    biased(product(before, names.value), names.valueBias),
  ], { heads, keyValueHeads, headWidth });
  const [attended] = builder.op("add", [hidden, product(mixed, names.attentionOut)]);

  const [between] = builder.op("rmsNorm", [attended, parameter(names.feedForwardNorm)], { epsilon });
  const [gated] = builder.op("swiglu", [product(between, names.gate), product(between, names.up)]);
  return builder.op("add", [attended, product(gated, names.down)])[0];
}
