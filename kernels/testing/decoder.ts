/**
 * A small decoder of the Llama family, written with the builder alone: for the
 * room's own tests and benchmarks. Real models are written in `stages`.
 */

import { type Graph, GraphBuilder, type Value } from "../graph.ts";

/** Sizes of the decoder. */
export interface DecoderSizes {
  readonly vocabulary: number;
  readonly width: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
  readonly hidden: number;
  readonly layers: number;
}

const EPSILON = 1e-5;
const THETA = 10000;

/** Sizes that formulas can follow, none a multiple of another that matters. */
export const SMALL: DecoderSizes = {
  vocabulary: 19,
  width: 12,
  heads: 4,
  keyValueHeads: 2,
  headWidth: 4,
  hidden: 17,
  layers: 2,
};

/** Attention and feed-forward with their residuals: `[B, T, C]` → `[B, T, C]`. Parameters become inputs. */
export function decoderBlock(
  builder: GraphBuilder,
  sizes: DecoderSizes,
  prefix: string,
  x: Value,
  positions: Value,
): Value {
  const { width, heads, keyValueHeads, headWidth, hidden } = sizes;
  const parameter = (name: string, ...shape: number[]) => builder.input(`${prefix}.${name}`, "f32", shape);
  const linear = (input: Value, name: string, outer: number, inner: number) =>
    builder.op("linear", [input, parameter(name, outer, inner)])[0];
  const norm = (input: Value, name: string) =>
    builder.op("rmsNorm", [input, parameter(name, width)], { epsilon: EPSILON })[0];
  const turn = (input: Value, heads: number) =>
    builder.op("rope", [input, positions], { heads, headWidth, theta: THETA })[0];

  const normed = norm(x, "attentionNorm");
  const q = turn(linear(normed, "q", heads * headWidth, width), heads);
  const k = turn(linear(normed, "k", keyValueHeads * headWidth, width), keyValueHeads);
  const v = linear(normed, "v", keyValueHeads * headWidth, width);
  const [mixed] = builder.op("attention", [q, k, v], { heads, keyValueHeads, headWidth });
  const [middle] = builder.op("add", [x, linear(mixed, "o", width, heads * headWidth)]);

  const inner = norm(middle, "feedForwardNorm");
  const gate = linear(inner, "gate", hidden, width);
  const up = linear(inner, "up", hidden, width);
  const [gated] = builder.op("swiglu", [gate, up]);
  return builder.op("add", [middle, linear(gated, "down", width, hidden)])[0];
}

/** From tokens and targets to `loss` and `count`, with the embedding tied to the head. */
export function decoder(sizes: DecoderSizes): Graph {
  const { vocabulary, width, layers } = sizes;
  const builder = new GraphBuilder();
  const tokens = builder.input("tokens", "i32", ["B", "T"]);
  const targets = builder.input("targets", "i32", ["B", "T"]);
  const positions = builder.input("positions", "i32", ["T"]);
  const table = builder.input("embedding", "f32", [vocabulary, width]);
  let x: Value = builder.op("embedding", [tokens, table])[0];
  for (let layer = 0; layer < layers; layer++) {
    x = decoderBlock(builder, sizes, `layer${layer}`, x, positions);
  }
  const gain = builder.input("norm", "f32", [width]);
  const [normed] = builder.op("rmsNorm", [x, gain], { epsilon: EPSILON });
  const [logits] = builder.op("linear", [normed, table]);
  const [loss, count] = builder.op("crossEntropy", [logits, targets]);
  builder.output("loss", loss);
  builder.output("count", count);
  return builder.build();
}
