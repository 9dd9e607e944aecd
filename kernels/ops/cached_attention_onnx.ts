/**
 * Attention over cached positions in ONNX. Blocks of the pool are gathered head
 * by head, as they lie there. What depends on sizes and lengths alone is written
 * once for all layers of a graph, as equal nodes are.
 */

import type { OnnxWriter } from "../onnx/writer.ts";
import type { Shape } from "../shapes.ts";
import type { AttentionAttributes } from "./attention.ts";
import { batchedProduct, foldGroups, mergeHeads, splitHeads } from "./attention_onnx.ts";

/** The name of `y`. */
export function attendToPast(
  writer: OnnxWriter,
  [q, k, v, pastKeys, pastValues, blocks, lengths]: readonly string[],
  attributes: AttentionAttributes,
  shapes: readonly Shape[],
): string {
  const { heads, keyValueHeads, headWidth } = attributes;
  const [batch, named] = shapes[5].map((dimension) => writer.dimension(dimension));
  const past = writer.node("Mul", [named, writer.dimension(shapes[3][2])]);
  const added = writer.node("Div", [writer.dimension(shapes[0][1]), batch]);
  /** T is 1: heads need no turning. */
  const single = shapes[0][1] === shapes[5][0];

  /** `[1, N, n·D]` → `[B, Hkv, n/Hkv·T, D]` */
  const perHead = (name: string, heads: number) => {
    if (single) {
      const group = heads / keyValueHeads;
      return writer.node("Reshape", [name, writer.int64([-1, keyValueHeads, group, headWidth])]);
    }
    const sizes = join(writer, [batch, writer.int64([-1, heads * headWidth])], 0);
    return splitHeads(writer, writer.node("Reshape", [name, sizes]), heads, attributes);
  };
  const gathered = gatherer(writer, blocks, shapes[3]);
  const sequences: Sequences = {
    queries: perHead(q, heads),
    pastKeys: gathered(pastKeys),
    pastValues: gathered(pastValues),
    newKeys: perHead(k, keyValueHeads),
    newValues: perHead(v, keyValueHeads),
    lengths,
    past,
    added,
    single,
  };
  const y = writer.provider === "cpu" && !single
    ? attendAtOnce(writer, sequences, attributes)
    : attendApart(writer, sequences, attributes);
  const rows = single ? y : mergeHeads(writer, y, heads, attributes);
  return writer.node("Reshape", [rows, writer.int64([1, -1, heads * headWidth])]);
}

/** Names of what is attended to, sequence by sequence. */
interface Sequences {
  /** `[B, Hkv, G·T, D]` */
  readonly queries: string;
  /** `[B, Hkv, S·L, D]`, as are the values. */
  readonly pastKeys: string;
  readonly pastValues: string;
  /** `[B, Hkv, T, D]`, as are the values. */
  readonly newKeys: string;
  readonly newValues: string;
  /** `[B]` */
  readonly lengths: string;
  /** S·L, as `i64` of rank 1. */
  readonly past: string;
  /** T, as `i64` of rank 1. */
  readonly added: string;
  /** Whether T is 1. */
  readonly single: boolean;
}

/** Few queries: scores of past and new positions are joined, which takes less than to join keys and values. */
function attendApart(
  writer: OnnxWriter,
  { queries, pastKeys, pastValues, newKeys, newValues, lengths, past, added, single }: Sequences,
  attributes: AttentionAttributes,
): string {
  const scoresOf = (keys: string) =>
    batchedProduct(writer, queries, keys, {
      transposeRight: true,
      scale: 1 / Math.sqrt(attributes.headWidth),
    });
  const pastScores = writer.node("Add", [
    scoresOf(pastKeys),
    biasOf(writer, isPast(writer, lengths, rangeTo(writer, past))),
  ]);
  let newScores = scoresOf(newKeys);
  if (!single) {
    const apart = writer.node("Reshape", [newScores, writer.int64([0, attributes.heads, -1, 0])]);
    const positions = rangeTo(writer, added);
    const seen = isNotAfter(writer, positions, positions);
    newScores = foldGroups(writer, writer.node("Add", [apart, biasOf(writer, seen)]), attributes);
  }
  const [toPast, toNew] = writer.nodes("Split", [
    writer.node("Softmax", [join(writer, [pastScores, newScores], -1)], { axis: { int: -1 } }),
    join(writer, [past, added], 0),
  ], { outputs: 2, attributes: { axis: { int: -1 } } });
  return writer.node("Add", [
    batchedProduct(writer, toPast, pastValues),
    batchedProduct(writer, toNew, newValues),
  ]);
}

/** Many queries: one operator does it all, and keys and values are joined for it. */
function attendAtOnce(
  writer: OnnxWriter,
  { queries, pastKeys, pastValues, newKeys, newValues, lengths, past, added }: Sequences,
  { heads, keyValueHeads, headWidth }: AttentionAttributes,
): string {
  const positions = rangeTo(writer, writer.node("Add", [past, added]));
  const isNew = writer.node("And", [
    writer.node("GreaterOrEqual", [positions, past]),
    isNotAfter(writer, positions, writer.node("Add", [rangeTo(writer, added), past])),
  ]);
  const seen = writer.node("Or", [isPast(writer, lengths, positions), isNew]);
  const y = writer.node("Attention", [
    writer.node("Reshape", [queries, writer.int64([0, heads, -1, headWidth])]),
    join(writer, [pastKeys, newKeys], 2),
    join(writer, [pastValues, newValues], 2),
    biasOf(writer, seen),
  ]);
  return writer.node("Reshape", [y, writer.int64([0, keyValueHeads, -1, headWidth])]);
}

/** Of a pool `[P, Hkv, L, D]` the blocks of each sequence: `[B, Hkv, S·L, D]`. */
function gatherer(writer: OnnxWriter, blocks: string, [, heads, positions, width]: Shape) {
  const [headCount, blockWidth, headWidth] = [heads, positions, width].map((size) => writer.dimension(size));
  /** `[B, S]` → `[B, Hkv, S]`: where each head of a block lies among all heads of all blocks. */
  const first = writer.node("Mul", [writer.node("Cast", [blocks], { to: { int: 7 } }), headCount]);
  const places = writer.node("Add", [
    writer.node("Unsqueeze", [first, writer.int64([1])]),
    writer.node("Reshape", [rangeTo(writer, headCount), writer.int64([-1, 1])]),
  ]);
  const rows = join(writer, [writer.int64([-1]), writer.node("Mul", [blockWidth, headWidth])], 0);
  const apart = join(writer, [writer.int64([0, 0, -1]), headWidth], 0);
  return (pool: string) =>
    writer.node("Reshape", [
      writer.node("Gather", [writer.node("Reshape", [pool, rows]), places]),
      apart,
    ]);
}

/** `[B, 1, 1, …positions]`: whether a position is past. */
function isPast(writer: OnnxWriter, lengths: string, positions: string): string {
  const ends = writer.node("Reshape", [
    writer.node("Cast", [lengths], { to: { int: 7 } }),
    writer.int64([-1, 1, 1, 1]),
  ]);
  return writer.node("Less", [positions, ends]);
}

/** `[queries, positions]`: whether a position comes no later than a query. */
function isNotAfter(writer: OnnxWriter, positions: string, queries: string): string {
  return writer.node("LessOrEqual", [
    positions,
    writer.node("Reshape", [queries, writer.int64([-1, 1])]),
  ]);
}

/** 0 where a position is seen, and −∞ elsewhere. */
function biasOf(writer: OnnxWriter, seen: string): string {
  return writer.node("Where", [seen, writer.float(0), writer.float(-Infinity)]);
}

/** 0 … count − 1 */
function rangeTo(writer: OnnxWriter, count: string): string {
  return writer.node("Range", [writer.int64(0), writer.node("Squeeze", [count]), writer.int64(1)]);
}

function join(writer: OnnxWriter, parts: readonly string[], axis: number): string {
  return writer.node("Concat", parts, { axis: { int: axis } });
}
