/**
 * How attention and its gradient are shared out over workgroups. The kernels
 * are tiled: no tensor of queries times keys is ever in memory.
 */

import { elementCount } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";
import { workgroupsOf } from "../webgpu/workgroups.ts";
import {
  type Dispatch,
  IMAGE_WIDTH,
  type WgslImage,
  type WgslTensor,
  type WgslWriter,
} from "../webgpu/writer.ts";
import type { AttentionAttributes } from "./attention.ts";
import { fitsImage, pack, type Packing } from "./pack.ts";

/** Rows of a tile: `ROWS` of `attention_tile.wgsl`. */
export const TILE_ROWS = 64;

/** Output columns of a block: what `Mixture` of `attention_tile.wgsl` counts by. */
const BLOCK_COLUMNS = 32;

/** Vectors that `left` of `attention_tile.wgsl` holds of outputs, in blocks: more need more splits. */
const CHUNK_COLUMNS = 32;

/** Up to so many rows of one key head get a workgroup each: of a tile, most would be idle. */
export const FEW_ROWS_MAX = 16;

/** Widest head: the kernel for few rows holds a query in a workgroup, four elements to an invocation. */
export const HEAD_WIDTH_MAX = 256;

const LAYOUT = new URL("./attention_layout.wgsl", import.meta.url);
export const WORK = new URL("./attention_work.wgsl", import.meta.url);
const READ_SCALAR = new URL("./attention_read_scalar.wgsl", import.meta.url);
const READ_VECTOR = new URL("./attention_read_vector.wgsl", import.meta.url);
const UPSTREAM_SCALAR = new URL("./attention_upstream_scalar.wgsl", import.meta.url);
const UPSTREAM_VECTOR = new URL("./attention_upstream_vector.wgsl", import.meta.url);
const READ_IMAGE = new URL("./attention_read_image.wgsl", import.meta.url);
const UPSTREAM_IMAGE = new URL("./attention_upstream_image.wgsl", import.meta.url);
export const TILE = new URL("./attention_tile.wgsl", import.meta.url);
export const FORWARD = new URL("./attention.wgsl", import.meta.url);
const YIELD = new URL("./attention_yield.wgsl", import.meta.url);
const FEW = new URL("./attention_few.wgsl", import.meta.url);
const ROW_SUMS = new URL("./attention_row_sums.wgsl", import.meta.url);
const QUERY_GRADIENT = new URL("./attention_query_gradient.wgsl", import.meta.url);
const KEY_VALUE_GRADIENT = new URL("./attention_key_value_gradient.wgsl", import.meta.url);

/** `y` and `logSumExp` from `q`, `k` and `v`. */
export function attend(
  writer: WgslWriter,
  [q, k, v]: readonly WgslTensor[],
  [y, logSumExp]: readonly WgslTensor[],
  attributes: AttentionAttributes,
): void {
  const rows = rowsOf(q, attributes);
  const kernel = {
    types: {
      Q: q.storage,
      K: k.storage,
      V: v.storage,
      Y: y.storage,
      LogSumExp: logSumExp.storage,
    },
    bindings: [q, k, v, y, logSumExp],
  };
  writer.dispatch(
    rows <= FEW_ROWS_MAX
      ? perHead(writer, [q, k], attributes, { ...kernel, source: [YIELD, FEW] }, rows, 1)
      : tiled(
        writer,
        [q, k],
        attributes,
        { ...kernel, source: [TILE, YIELD, FORWARD], images: imagesOf(writer, [q, k, v], attributes) },
        rows,
        4,
      ),
  );
}

/** `dq`, `dk` and `dv`; the probabilities are computed again from `logSumExp`. */
export function attendBackwards(
  writer: WgslWriter,
  [q, k, v, y, logSumExp, dy]: readonly WgslTensor[],
  [dq, dk, dv]: readonly WgslTensor[],
  attributes: AttentionAttributes,
): void {
  const rowSums = writer.scratch("f32", logSumExp.shape);
  writer.dispatch(elementwise(writer.limits, rowSums, {
    source: [ROW_SUMS],
    types: { Y: y.storage, Upstream: dy.storage },
    sizes: { QUERIES: q.shape[1] },
    constants: { HEADS: attributes.heads, WIDTH: attributes.headWidth },
    bindings: [y, dy, rowSums],
  }));
  const types = {
    Q: q.storage,
    K: k.storage,
    V: v.storage,
    Upstream: dy.storage,
    LogSumExp: logSumExp.storage,
  };
  const given = [q, k, v, dy, logSumExp, rowSums];
  const images = imagesOf(writer, [q, k, v, dy], attributes);
  const upstream = images ? UPSTREAM_IMAGE : byFours(attributes) ? UPSTREAM_VECTOR : UPSTREAM_SCALAR;
  writer.dispatch(tiled(
    writer,
    [q, k],
    attributes,
    {
      source: [upstream, TILE, QUERY_GRADIENT],
      types: { ...types, ByQuery: dq.storage },
      bindings: [...given, dq],
      images,
    },
    rowsOf(q, attributes),
    4,
  ));
  // Half as many columns for each workgroup: it holds two gradients.
  writer.dispatch(tiled(
    writer,
    [q, k],
    attributes,
    {
      source: [upstream, TILE, KEY_VALUE_GRADIENT],
      types: { ...types, ByKey: dk.storage, ByValue: dv.storage },
      bindings: [...given, dk, dv],
      images,
    },
    k.shape[1],
    2,
  ));
}

type Kernel = Pick<Dispatch, "source" | "types" | "bindings" | "images">;

/** Images of these tensors, where the processor reads them; `undefined` where buffers do as well. */
function imagesOf(
  writer: WgslWriter,
  tensors: readonly WgslTensor[],
  attributes: AttentionAttributes,
): readonly WgslImage[] | undefined {
  if (!writer.limits.software || !byFours(attributes)) return undefined;
  const packings = tensors.map(({ shape }): Packing => ({
    rows: elementCount(shape) / attributes.headWidth,
    width: attributes.headWidth,
    pitch: attributes.headWidth / 4,
    alongRow: true,
  }));
  if (!packings.every(fitsImage)) return undefined;
  return tensors.map((tensor, index) => pack(writer, tensor, packings[index]));
}

/** Rows that share a key head. */
function rowsOf(q: WgslTensor, { heads, keyValueHeads }: AttentionAttributes): number {
  return q.shape[1] * heads / keyValueHeads;
}

/** Whether four elements can be read at once. */
function byFours({ headWidth }: AttentionAttributes): boolean {
  return headWidth % 4 === 0;
}

/**
 * How a head's width is shared out over workgroups.
 *
 * @param blocksMax of 32 columns, for one workgroup.
 */
export function blocksOf(
  headWidth: number,
  blocksMax: number,
): { readonly splits: number; readonly BLOCKS: number; readonly CHUNK: number } {
  const columns = Math.ceil(headWidth / BLOCK_COLUMNS);
  const blocks = Math.min(columns, blocksMax);
  return {
    splits: Math.ceil(columns / blocks),
    BLOCKS: blocks,
    // As many columns at once as fit: a power of two of them, as it must divide a tile's.
    CHUNK: CHUNK_COLUMNS / 2 ** Math.ceil(Math.log2(blocks)),
  };
}

/** A workgroup for each tile of rows, and of the head's width no more than `blocksMax` blocks. */
function tiled(
  writer: WgslWriter,
  shapedLike: readonly [WgslTensor, WgslTensor],
  attributes: AttentionAttributes,
  kernel: Kernel,
  rows: number,
  blocksMax: number,
): Dispatch {
  const { splits, ...blocks } = blocksOf(attributes.headWidth, blocksMax);
  const tiles = Math.ceil(rows / TILE_ROWS);
  const dispatch = perHead(writer, shapedLike, attributes, kernel, tiles, splits);
  const constants = {
    ...dispatch.constants,
    ...blocks,
    IMAGES: kernel.images !== undefined,
  };
  return { ...dispatch, constants };
}

/** `tiles · splits` workgroups for each key head of each sequence. */
function perHead(
  { limits }: WgslWriter,
  [q, k]: readonly [WgslTensor, WgslTensor],
  attributes: AttentionAttributes,
  kernel: Kernel,
  tiles: number,
  splits: number,
): Dispatch {
  const { heads, keyValueHeads, headWidth } = attributes;
  if (headWidth > HEAD_WIDTH_MAX) {
    throw new TypeError(
      `Cannot plan attention: a head is ${headWidth} wide, and its kernels take up to ${HEAD_WIDTH_MAX}`,
    );
  }
  const [batch, queries] = q.shape;
  return {
    ...kernel,
    source: [
      LAYOUT,
      WORK,
      kernel.images ? READ_IMAGE : byFours(attributes) ? READ_VECTOR : READ_SCALAR,
      ...kernel.source,
    ],
    sizes: {
      BATCH: batch,
      QUERIES: queries,
      QUERY_ROWS: rowsOf(q, attributes),
      KEYS: k.shape[1],
      TILES: tiles,
    },
    constants: {
      KEY_HEADS: keyValueHeads,
      GROUP: heads / keyValueHeads,
      WIDTH: headWidth,
      SPLITS: splits,
      IMAGE_WIDTH,
    },
    floats: { SCALE: 1 / Math.sqrt(headWidth) },
    workgroups: workgroupsOf(limits, batch * keyValueHeads * tiles * splits),
  };
}
