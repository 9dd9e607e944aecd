/**
 * How attention over cached positions is shared out over workgroups. Few queries
 * are taken one by one, each over parts of the positions that it may see, which
 * are joined afterwards in their order (Dao et al., 2023, "Flash-Decoding"). The
 * queries of a prompt go in tiles, through attention's own kernel. Kernels know
 * no lengths: one serves a session from its first position to its last.
 */

import { elementwise } from "../webgpu/elementwise.ts";
import { REDUCE } from "../webgpu/rowwise.ts";
import { workgroupsOf } from "../webgpu/workgroups.ts";
import type { Dispatch, WgslTensor, WgslWriter } from "../webgpu/writer.ts";
import type { AttentionAttributes } from "./attention.ts";
import {
  blocksOf,
  FEW_ROWS_MAX,
  FORWARD,
  HEAD_WIDTH_MAX,
  TILE,
  TILE_ROWS,
  WORK,
} from "./attention_webgpu.ts";

/** Positions of one part, and invocations of the workgroup that takes it. */
const PART = 256;

const READ_SCALAR = new URL("./cached_attention_read_scalar.wgsl", import.meta.url);
const READ_VECTOR = new URL("./cached_attention_read_vector.wgsl", import.meta.url);
const LAYOUT = new URL("./cached_attention_layout.wgsl", import.meta.url);
const CHUNK = new URL("./cached_attention_chunk.wgsl", import.meta.url);
const PARTS = new URL("./cached_attention_parts.wgsl", import.meta.url);
const JOIN = new URL("./cached_attention_join.wgsl", import.meta.url);

/** `y` from the op's inputs, in the order of its row. */
export function attendToPool(
  writer: WgslWriter,
  inputs: readonly WgslTensor[],
  [y]: readonly WgslTensor[],
  attributes: AttentionAttributes,
): void {
  const { heads, keyValueHeads, headWidth } = attributes;
  if (headWidth > HEAD_WIDTH_MAX) {
    throw new TypeError(
      `Cannot plan cachedAttention: a head is ${headWidth} wide, and its kernels take up to ${HEAD_WIDTH_MAX}`,
    );
  }
  const [q, k, v, pastKeys, pastValues, blocks] = inputs;
  const [batch, named] = blocks.shape;
  const queries = q.shape[1] / batch;
  const queryRows = queries * heads / keyValueHeads;
  const common: Common = {
    source: [headWidth % 4 === 0 ? READ_VECTOR : READ_SCALAR, LAYOUT],
    types: { Q: q.storage, K: k.storage, V: v.storage, PastK: pastKeys.storage, PastV: pastValues.storage },
    constants: {
      KEY_HEADS: keyValueHeads,
      GROUP: heads / keyValueHeads,
      WIDTH: headWidth,
      BLOCK_POSITIONS: pastKeys.shape[2],
    },
    floats: { SCALE: 1 / Math.sqrt(headWidth) },
    sizes: { BATCH: batch, QUERIES: queries, QUERY_ROWS: queryRows, NAMED_BLOCKS: named },
  };
  if (queryRows <= FEW_ROWS_MAX) inParts(writer, inputs, y, attributes, common);
  else inTiles(writer, inputs, y, attributes, common);
}

/** What both ways have in common. */
type Common = Required<Pick<Dispatch, "source" | "types" | "constants" | "floats" | "sizes">>;

/** A workgroup for each query and part of its positions. */
function inParts(
  writer: WgslWriter,
  inputs: readonly WgslTensor[],
  y: WgslTensor,
  { heads, headWidth }: AttentionAttributes,
  common: Common,
): void {
  const positions = y.shape[1];
  const past = inputs[5].shape[1] * inputs[3].shape[2];
  const partCount = Math.ceil((past + common.sizes.QUERIES) / PART);
  const parts = writer.scratch("f32", [positions, heads, partCount, headWidth + 2]);
  writer.dispatch({
    ...common,
    source: [...common.source, REDUCE, PARTS],
    constants: { ...common.constants, THREADS: PART },
    sizes: { ...common.sizes, PARTS: partCount },
    bindings: [...inputs, parts],
    workgroups: workgroupsOf(writer.limits, positions * heads * partCount),
  });
  writer.dispatch(elementwise(writer.limits, y, {
    source: [JOIN],
    types: { Y: y.storage },
    constants: { WIDTH: headWidth },
    sizes: { PARTS: partCount },
    bindings: [parts, y],
  }));
}

/** A workgroup for each tile of queries, over all positions that they see. */
function inTiles(
  writer: WgslWriter,
  inputs: readonly WgslTensor[],
  y: WgslTensor,
  { keyValueHeads, headWidth }: AttentionAttributes,
  common: Common,
): void {
  const { splits, ...blocks } = blocksOf(headWidth, 4);
  const tiles = Math.ceil(common.sizes.QUERY_ROWS / TILE_ROWS);
  writer.dispatch({
    ...common,
    source: [...common.source, CHUNK, WORK, TILE, FORWARD],
    types: { ...common.types, Y: y.storage },
    constants: { ...common.constants, ...blocks, SPLITS: splits, IMAGES: false },
    sizes: { ...common.sizes, TILES: tiles },
    bindings: [...inputs, y],
    workgroups: workgroupsOf(writer.limits, common.sizes.BATCH * keyValueHeads * tiles * splits),
  });
}
