/**
 * Attention over cached positions in ONNX: keys and values are gathered from the
 * pool, the new ones put behind them, and a mask hides what lies between. The
 * mask depends on lengths alone, and is written once for all layers of a graph,
 * as equal nodes are.
 */

import type { OnnxWriter } from "../onnx/writer.ts";
import type { Shape } from "../shapes.ts";
import type { AttentionAttributes } from "./attention.ts";
import { batchedProduct, foldGroups, mergeHeads, splitHeads } from "./attention_onnx.ts";

/** The name of `y`. */
export function attendToPast(
  writer: OnnxWriter,
  [q, k, v, pastKeys, pastValues, rows, lengths]: readonly string[],
  attributes: AttentionAttributes,
  shapes: readonly Shape[],
): string {
  const { heads, keyValueHeads, headWidth } = attributes;
  const [batch, capacity] = shapes[5].map((dimension) => writer.dimension(dimension));
  /** `[1, N, width]` → `[B, T, width]` */
  const bySequence = (name: string, width: number) =>
    writer.node("Reshape", [name, join(writer, [batch, writer.int64([-1, width])])]);
  /** `[B, S + T, Hkv·D]` */
  const extended = (pool: string, added: string) =>
    writer.node("Concat", [
      writer.node("Gather", [pool, rows]),
      bySequence(added, keyValueHeads * headWidth),
    ], { axis: { int: 1 } });
  const queries = bySequence(q, heads * headWidth);
  const [keys, values] = [extended(pastKeys, k), extended(pastValues, v)];
  const length = writer.node("Div", [writer.dimension(shapes[0][1]), batch]);
  const bias = biasOf(writer, lengths, capacity, length);
  const y = writer.provider === "cpu"
    ? writer.node("Attention", [queries, keys, values, bias], {
      q_num_heads: { int: heads },
      kv_num_heads: { int: keyValueHeads },
    })
    : spelledOut(writer, [queries, keys, values, bias], attributes);
  return writer.node("Reshape", [y, writer.int64([1, -1, heads * headWidth])]);
}

/** The same without the operator, for which not all providers have a kernel. */
function spelledOut(
  writer: OnnxWriter,
  [q, k, v, bias]: readonly string[],
  attributes: AttentionAttributes,
): string {
  const { heads, keyValueHeads, headWidth } = attributes;
  const scores = batchedProduct(
    writer,
    splitHeads(writer, q, heads, attributes),
    splitHeads(writer, k, keyValueHeads, attributes),
    { transposeRight: true, scale: 1 / Math.sqrt(headWidth) },
  );
  const perHead = writer.node("Reshape", [scores, writer.int64([0, heads, -1, 0])]);
  const probabilities = writer.node("Softmax", [writer.node("Add", [perHead, bias])], { axis: { int: -1 } });
  const grouped = foldGroups(writer, probabilities, attributes);
  const values = splitHeads(writer, v, keyValueHeads, attributes);
  return mergeHeads(writer, batchedProduct(writer, grouped, values), heads, attributes);
}

/** `[B, 1, T, S + T]`: 0 where query t sees a past or new position, and −∞ elsewhere. */
function biasOf(writer: OnnxWriter, lengths: string, capacity: string, length: string): string {
  const range = (count: string) =>
    writer.node("Range", [writer.int64(0), writer.node("Squeeze", [count]), writer.int64(1)]);
  const positions = range(writer.node("Add", [capacity, length]));
  const pastEnds = writer.node("Reshape", [
    writer.node("Cast", [lengths], { to: { int: 7 } }),
    writer.int64([-1, 1, 1, 1]),
  ]);
  const newEnds = writer.node("Reshape", [
    writer.node("Add", [range(length), capacity]),
    writer.int64([-1, 1]),
  ]);
  const isPast = writer.node("Less", [positions, pastEnds]);
  const isNew = writer.node("And", [
    writer.node("GreaterOrEqual", [positions, capacity]),
    writer.node("LessOrEqual", [positions, newEnds]),
  ]);
  const seen = writer.node("Or", [isPast, isNew]);
  return writer.node("Where", [seen, writer.float(0), writer.float(-Infinity)]);
}

function join(writer: OnnxWriter, parts: readonly string[]): string {
  return writer.node("Concat", parts, { axis: { int: 0 } });
}
