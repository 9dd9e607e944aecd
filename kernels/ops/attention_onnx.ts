/**
 * How attention and its gradient lay tensors out in ONNX. The query heads that
 * share a key head are folded into rows, `[B, Hkv, G·T, D]`, so that grouped
 * keys and values are never copied.
 */

import type { OnnxWriter } from "../onnx/writer.ts";
import type { Dimension, Shape } from "../shapes.ts";
import type { AttentionAttributes } from "./attention.ts";

/** `[B, T, H·D]` → `[B, Hkv, G·T, D]`. For keys and values G is 1. */
export function splitHeads(
  writer: OnnxWriter,
  name: string,
  heads: number,
  attributes: AttentionAttributes,
): string {
  const split = writer.node("Reshape", [
    name,
    writer.int64([0, 0, heads, attributes.headWidth]),
  ]);
  const perHead = writer.node("Transpose", [split], { perm: { ints: [0, 2, 1, 3] } });
  return heads === attributes.keyValueHeads ? perHead : foldGroups(writer, perHead, attributes);
}

/** `[B, H, T, X]` → `[B, Hkv, G·T, X]` */
export function foldGroups(
  writer: OnnxWriter,
  name: string,
  { heads, keyValueHeads }: AttentionAttributes,
): string {
  if (heads === keyValueHeads) return name;
  // Two steps: with the last dimension left open, ONNX could not tell G·T from it.
  return writer.node("Reshape", [name, writer.int64([0, keyValueHeads, -1, 0])]);
}

/** `[B, Hkv, G·T, D]` → `[B, T, H·D]`. For keys and values G is 1. */
export function mergeHeads(
  writer: OnnxWriter,
  name: string,
  heads: number,
  { keyValueHeads, headWidth }: AttentionAttributes,
): string {
  const perHead = heads === keyValueHeads
    ? name
    : writer.node("Reshape", [name, writer.int64([0, heads, -1, headWidth])]);
  const rows = writer.node("Transpose", [perHead], { perm: { ints: [0, 2, 1, 3] } });
  return writer.node("Reshape", [rows, writer.int64([0, 0, heads * headWidth])]);
}

/** Matrix product of the last two dimensions, times `scale`. */
export function batchedProduct(
  writer: OnnxWriter,
  left: string,
  right: string,
  options: {
    readonly transposeLeft?: boolean;
    readonly transposeRight?: boolean;
    readonly scale?: number;
  } = {},
): string {
  if (writer.provider === "webgpu") return spelledOutProduct(writer, left, right, options);
  return writer.nodes("FusedMatMul", [left, right], {
    domain: "com.microsoft",
    outputs: 1,
    attributes: {
      transA: { int: options.transposeLeft ? 1 : 0 },
      transB: { int: options.transposeRight ? 1 : 0 },
      alpha: { float: options.scale ?? 1 },
    },
  })[0];
}

/** The same without the fused operator, for which ONNX Runtime's WebGPU provider has no kernel. */
function spelledOutProduct(
  writer: OnnxWriter,
  left: string,
  right: string,
  { transposeLeft, transposeRight, scale = 1 }: Parameters<typeof batchedProduct>[3] = {},
): string {
  const turned = (name: string) => writer.node("Transpose", [name], { perm: { ints: [0, 1, 3, 2] } });
  const product = writer.node("MatMul", [
    transposeLeft ? turned(left) : left,
    transposeRight ? turned(right) : right,
  ]);
  return scale === 1 ? product : writer.node("Mul", [product, writer.float(scale)]);
}

/** Scaled scores of `[B, Hkv, G·T, D]` and `[B, Hkv, S, D]` → `[B, H, T, S]`, −∞ where a key is not seen. */
export function maskedScores(
  writer: OnnxWriter,
  queries: string,
  keys: string,
  { heads, headWidth }: AttentionAttributes,
  [qShape, kShape]: readonly Shape[],
): string {
  const scores = batchedProduct(writer, queries, keys, {
    transposeRight: true,
    scale: 1 / Math.sqrt(headWidth),
  });
  const perHead = writer.node("Reshape", [scores, writer.int64([0, heads, -1, 0])]);
  return writer.node("Add", [perHead, causalBias(writer, qShape[1], kShape[1])]);
}

/** `[T, S]`: 0 where query t may see key s, that is s ≤ S − T + t, and −∞ elsewhere. */
function causalBias(writer: OnnxWriter, queries: Dimension, keys: Dimension): string {
  const [queryCount, keyCount] = [writer.dimension(queries), writer.dimension(keys)];
  const range = (count: string) =>
    writer.node("Range", [writer.int64(0), writer.node("Squeeze", [count]), writer.int64(1)]);
  const last = writer.node("Add", [
    range(queryCount),
    writer.node("Sub", [keyCount, queryCount]),
  ]);
  const seen = writer.node("LessOrEqual", [
    range(keyCount),
    writer.node("Reshape", [last, writer.int64([-1, 1])]),
  ]);
  return writer.node("Where", [seen, writer.float(0), writer.float(-Infinity)]);
}
