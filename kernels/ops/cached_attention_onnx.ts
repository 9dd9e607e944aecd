/**
 * Attention over cached positions in ONNX. Past and new positions are
 * multiplied apart, and heads are found by strides where the product can do so,
 * so that of the past nothing is copied but once, from the pool. What depends on
 * rows and lengths alone is written once for all layers of a graph, as equal
 * nodes are.
 */

import type { OnnxWriter } from "../onnx/writer.ts";
import type { Dimension, Shape } from "../shapes.ts";
import type { AttentionAttributes } from "./attention.ts";
import { batchedProduct, foldGroups } from "./attention_onnx.ts";

/** The name of `y`. */
export function attendToPast(
  writer: OnnxWriter,
  [q, k, v, pastKeys, pastValues, rows, lengths]: readonly string[],
  attributes: AttentionAttributes,
  shapes: readonly Shape[],
): string {
  const { heads, keyValueHeads, headWidth } = attributes;
  const [batch, capacity] = shapes[5];
  const layout = layoutOf(writer, attributes, { positions: shapes[0][1], batch });
  // Scaled here, where they are few: a product with a factor takes a slower way.
  const queries = layout.fold(writer.node("Mul", [q, writer.float(1 / Math.sqrt(headWidth))]), heads);
  const byKeys = { transposeRight: true };
  const scores = writer.node("Concat", [
    layout.masked(
      pastProduct(writer, queries, pastKeys, rows, attributes, byKeys),
      pastBias(writer, lengths, capacity),
    ),
    layout.causal(batchedProduct(writer, queries, layout.fold(k, keyValueHeads), byKeys)),
  ], { axis: { int: -1 } });
  const sizes = join(writer, [writer.dimension(capacity), layout.length]);
  const [byPast, byNew] = writer.nodes("Split", [
    layout.refold(writer.node("Softmax", [scores], { axis: { int: -1 } })),
    sizes,
  ], { outputs: 2, attributes: { axis: { int: -1 } } });
  return layout.unfold(writer.node("Add", [
    pastProduct(writer, byPast, pastValues, rows, attributes),
    batchedProduct(writer, byNew, layout.fold(v, keyValueHeads)),
  ]));
}

/** How new positions are laid out for products, and masks for them. */
interface Layout {
  /** T, as `i64` of rank 1. */
  readonly length: string;
  /** `[1, N, heads·D]` → `[B, Hkv, G·T, D]`; for keys and values G is 1. */
  fold(name: string, heads: number): string;
  /** Adds a mask `[B, 1, 1 or T, X]` to scores `[B, Hkv, G·T, X]`; the result may have its groups apart. */
  masked(scores: string, bias: string): string;
  /** {@link masked} among new positions: none sees those after it. */
  causal(scores: string): string;
  /** What {@link masked} has made, as it was given. */
  refold(name: string): string;
  /** `[B, Hkv, G·T, D]` → `[1, N, H·D]` */
  unfold(name: string): string;
}

function layoutOf(
  writer: OnnxWriter,
  attributes: AttentionAttributes,
  { positions, batch }: { readonly positions: Dimension; readonly batch: Dimension },
): Layout {
  const { heads, keyValueHeads, headWidth } = attributes;
  const add = (left: string, right: string) => writer.node("Add", [left, right]);
  const merge = (name: string) => writer.node("Reshape", [name, writer.int64([1, -1, heads * headWidth])]);
  if (positions === batch) {
    // Every sequence goes on by one position, which nothing has to be moved for.
    return {
      length: writer.int64([1]),
      fold: (name, heads) =>
        writer.node("Reshape", [
          name,
          writer.int64([-1, keyValueHeads, heads / keyValueHeads, headWidth]),
        ]),
      masked: add,
      causal: (scores) => scores,
      refold: (name) => name,
      unfold: merge,
    };
  }
  const turned = (name: string) => writer.node("Transpose", [name], { perm: { ints: [0, 2, 1, 3] } });
  const apart = (name: string) =>
    heads === keyValueHeads ? name : writer.node("Reshape", [name, writer.int64([0, heads, -1, 0])]);
  const length = writer.node("Div", [writer.dimension(positions), writer.dimension(batch)]);
  const masked = (scores: string, bias: string) => add(apart(scores), bias);
  return {
    length,
    fold(name, heads) {
      const shape = join(writer, [writer.dimension(batch), writer.int64([-1, heads, headWidth])]);
      const perHead = turned(writer.node("Reshape", [name, shape]));
      return heads === keyValueHeads ? perHead : foldGroups(writer, perHead, attributes);
    },
    masked,
    causal: (scores) => masked(scores, causalBias(writer, length)),
    refold: (name) => foldGroups(writer, name, attributes),
    unfold: (name) =>
      merge(turned(
        heads === keyValueHeads
          ? name
          : writer.node("Reshape", [name, writer.int64([0, heads, -1, headWidth])]),
      )),
  };
}

/** Product of `left`, `[B, Hkv, G·T, …]`, and what the pool's rows hold, `[B, Hkv, S, D]`. */
function pastProduct(
  writer: OnnxWriter,
  left: string,
  pool: string,
  rows: string,
  { keyValueHeads, headWidth }: AttentionAttributes,
  { transposeRight = false } = {},
): string {
  const gathered = (rows: string) =>
    writer.node("Reshape", [
      writer.node("Gather", [pool, rows]),
      writer.int64([0, 0, keyValueHeads, headWidth]),
    ]);
  if (writer.provider === "webgpu") {
    // It has no kernel for the fused product.
    const turned = transposeRight ? [0, 2, 3, 1] : [0, 2, 1, 3];
    return writer.node("MatMul", [
      left,
      writer.node("Transpose", [gathered(rows)], { perm: { ints: turned } }),
    ]);
  }
  // Position by position, all sequences of each: `[S, B, Hkv, D]`.
  const turnedRows = writer.node("Transpose", [rows], { perm: { ints: [1, 0] } });
  return writer.nodes("FusedMatMul", [left, gathered(turnedRows)], {
    domain: "com.microsoft",
    outputs: 1,
    attributes: { transB: { int: transposeRight ? 1 : 0 }, transBatchB: { int: 1 } },
  })[0];
}

/** `[B, 1, 1, S]`: 0 where a position is past, and −∞ beyond. */
function pastBias(writer: OnnxWriter, lengths: string, capacity: Dimension): string {
  const ends = writer.node("Reshape", [
    writer.node("Cast", [lengths], { to: { int: 7 } }),
    writer.int64([-1, 1, 1, 1]),
  ]);
  return bias(writer, writer.node("Less", [range(writer, writer.dimension(capacity)), ends]));
}

/** `[T, T]`: 0 where query t sees new position s, that is s ≤ t, and −∞ elsewhere. */
function causalBias(writer: OnnxWriter, length: string): string {
  const positions = range(writer, length);
  const queries = writer.node("Reshape", [positions, writer.int64([-1, 1])]);
  return bias(writer, writer.node("LessOrEqual", [positions, queries]));
}

function bias(writer: OnnxWriter, seen: string): string {
  return writer.node("Where", [seen, writer.float(0), writer.float(-Infinity)]);
}

function range(writer: OnnxWriter, count: string): string {
  return writer.node("Range", [writer.int64(0), writer.node("Squeeze", [count]), writer.int64(1)]);
}

function join(writer: OnnxWriter, parts: readonly string[]): string {
  return writer.node("Concat", parts, { axis: { int: 0 } });
}
