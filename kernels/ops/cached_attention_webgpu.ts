/**
 * How attention over cached positions is shared out over workgroups. Each takes
 * one query over a part of the positions that it may see; the parts are joined
 * afterwards in their order (Dao et al., 2023, "Flash-Decoding"). Kernels know
 * no lengths: one serves a session from its first position to its last.
 */

import { elementwise } from "../webgpu/elementwise.ts";
import { REDUCE } from "../webgpu/rowwise.ts";
import { workgroupsOf } from "../webgpu/workgroups.ts";
import type { WgslTensor, WgslWriter } from "../webgpu/writer.ts";
import type { AttentionAttributes } from "./attention.ts";
import { HEAD_WIDTH_MAX } from "./attention_webgpu.ts";

/** Positions of one part, and invocations of the workgroup that takes it. */
const PART = 256;

const READ_SCALAR = new URL("./cached_attention_read_scalar.wgsl", import.meta.url);
const READ_VECTOR = new URL("./cached_attention_read_vector.wgsl", import.meta.url);
const LAYOUT = new URL("./cached_attention_layout.wgsl", import.meta.url);
const PARTS = new URL("./cached_attention_parts.wgsl", import.meta.url);
const JOIN = new URL("./cached_attention_join.wgsl", import.meta.url);

/** `y` from the op's inputs, in the order of its row. */
export function attendInParts(
  writer: WgslWriter,
  inputs: readonly WgslTensor[],
  [y]: readonly WgslTensor[],
  { heads, keyValueHeads, headWidth }: AttentionAttributes,
): void {
  if (headWidth > HEAD_WIDTH_MAX) {
    throw new TypeError(
      `Cannot plan cachedAttention: a head is ${headWidth} wide, and its kernels take up to ${HEAD_WIDTH_MAX}`,
    );
  }
  const [q, k, v, pastKeys, pastValues, rows] = inputs;
  const [batch, capacity] = rows.shape;
  const queries = q.shape[1] / batch;
  const partCount = Math.ceil((capacity + queries) / PART);
  const parts = writer.scratch("f32", [q.shape[1], heads, partCount, headWidth + 2]);
  writer.dispatch({
    source: [headWidth % 4 === 0 ? READ_VECTOR : READ_SCALAR, LAYOUT, REDUCE, PARTS],
    types: {
      Q: q.storage,
      K: k.storage,
      V: v.storage,
      PastK: pastKeys.storage,
      PastV: pastValues.storage,
    },
    constants: { KEY_HEADS: keyValueHeads, GROUP: heads / keyValueHeads, WIDTH: headWidth, THREADS: PART },
    floats: { SCALE: 1 / Math.sqrt(headWidth) },
    sizes: { BATCH: batch, QUERIES: queries, CAPACITY: capacity, PARTS: partCount },
    bindings: [...inputs, parts],
    workgroups: workgroupsOf(writer.limits, q.shape[1] * heads * partCount),
  });
  writer.dispatch(elementwise(writer.limits, y, {
    source: [JOIN],
    types: { Y: y.storage },
    constants: { WIDTH: headWidth },
    sizes: { PARTS: partCount },
    bindings: [parts, y],
  }));
}
