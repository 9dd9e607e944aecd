/**
 * How `linear` and its gradients run on WebGPU: one matrix product
 *
 *     output[m, n] = Σ over k of left(m, k) right(k, n)
 *
 * by one of three kernels, chosen from the sizes and from what computes. GPUs
 * read operands as they lie, so that no transpose is ever copied. A processor
 * reads them from images, into which they are packed first: that costs a few
 * percent of a product, and makes the rest several times as fast.
 */

import { elementCount } from "../shapes.ts";
import { workgroupsOf } from "../webgpu/workgroups.ts";
import {
  type Dispatch,
  IMAGE_WIDTH,
  type WgslLimits,
  type WgslTensor,
  type WgslWriter,
} from "../webgpu/writer.ts";
import { fitsImage, pack } from "./pack.ts";
import { sumBlocks } from "./sum_blocks.ts";

/** Sizes of a product. */
export interface ProductSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** An operand, and how it lies. */
export interface Operand {
  readonly tensor: WgslTensor;
  /** Whether neighbours in memory are neighbours in k: left is `[m, k]`, or right `[n, k]`. */
  readonly alongK: boolean;
}

/** Which kernel computes a product, and how the work is cut. */
export type ProductChoice =
  | { readonly kernel: "few rows" }
  | {
    readonly kernel: "tiled" | "direct";
    /** Rows and columns of the output that are computed together. */
    readonly tile: readonly [number, number];
    /** How deep a slice of the operands is read at once. */
    readonly depth: number;
    /** In how many parts the sum over k is taken, to be added up in a second pass. */
    readonly parts: number;
  };

/** Rows up to which a product only waits for its right operand to be read. */
const FEW_ROWS = 8;

/** Elements of one operand that a tiled kernel holds of a slice: with the other one's, 16 KiB. */
const SLICE = 2048;

/** Rows and columns that an invocation of the direct kernel computes. */
const DIRECT_TILE = [16, 8] as const;

/** Invocations of a workgroup of the direct kernel. */
const DIRECT_GROUP = 8;

/** Workgroups that keep a GPU busy: the largest have somewhat more than a hundred processors. */
const TILED_GROUPS = 256;

/** Workgroups that keep the cores of a processor busy. */
const DIRECT_GROUPS = 64;

/** No part is shorter: it would be over before it has paid for its second pass. */
const PART_MIN = 256;

/** Bytes of all parts together. */
const PARTS_BYTES_MAX = 64 * 2 ** 20;

/**
 * Chooses how to compute a product.
 *
 * @param rightAlongK whether the right operand is `[n, k]`.
 */
export function chooseProduct(
  sizes: ProductSizes,
  rightAlongK: boolean,
  { software }: Pick<WgslLimits, "software">,
): ProductChoice {
  if (sizes.m <= FEW_ROWS && rightAlongK) return { kernel: "few rows" };
  if (software && fitsImage({ rows: Math.max(sizes.m, sizes.n), pitch: pitchOf(sizes) })) {
    const tile = DIRECT_TILE;
    const groups = Math.ceil(tilesOf(sizes, tile) / DIRECT_GROUP);
    return { kernel: "direct", tile, depth: 4, parts: partsFor(sizes, groups, DIRECT_GROUPS, 4) };
  }
  // A large tile reads less; small ones leave no processor idle.
  const edge = tilesOf(sizes, [128, 128]) >= TILED_GROUPS / 2 ? 128 : 64;
  const tile = [edge, edge] as const;
  const depth = SLICE / edge;
  return { kernel: "tiled", tile, depth, parts: partsFor(sizes, tilesOf(sizes, tile), TILED_GROUPS, depth) };
}

/** Texels from one row of a packed operand to the next: odd, as a power of two would share few lines of a cache. */
function pitchOf({ k }: ProductSizes): number {
  return Math.ceil(k / 4) | 1;
}

/** Where the tiles are too few to fill the machine, the sum over k is shared out as well. */
function partsFor({ m, n, k }: ProductSizes, groups: number, wanted: number, depth: number): number {
  const most = Math.min(Math.ceil(wanted / groups), k / PART_MIN, PARTS_BYTES_MAX / (4 * m * n));
  return Math.max(1, Math.ceil(k / partLength(k, Math.max(1, Math.floor(most)), depth)));
}

/** A part is a whole number of slices. */
function partLength(k: number, parts: number, depth: number): number {
  return Math.ceil(k / parts / depth) * depth;
}

function tilesOf({ m, n }: ProductSizes, [rows, columns]: readonly [number, number]): number {
  return Math.ceil(m / rows) * Math.ceil(n / columns);
}

/**
 * Writes the dispatches of a product.
 *
 * @param output `[m, n]`, or any shape of as many elements whose last dimension is n.
 */
export function matrixProduct(
  writer: WgslWriter,
  sizes: ProductSizes,
  left: Operand,
  right: Operand,
  output: WgslTensor,
): void {
  const choice = chooseProduct(sizes, right.alongK, writer.limits);
  const { m, n, k } = sizes;
  if (choice.kernel === "few rows") {
    const base = access(sizes, left, right, output, ["matrix_product_few_rows.wgsl"]);
    writer.dispatch({
      ...base,
      // An array is as long; but no more than so many kernels are compiled for it.
      constants: { ...base.constants, ROWS: m },
      workgroups: spread(Math.ceil(n / 4), 1, writer.limits),
    });
    return;
  }
  const { kernel, tile, depth, parts } = choice;
  const tiles = tilesOf(sizes, tile);
  const target = parts === 1 ? output : writer.scratch("f32", [parts, m, n]);
  const cut = { ROWS: m, PART_K: partLength(k, parts, depth), TILES: tiles };
  const columns = { COLUMNS: n, TILES_N: Math.ceil(n / tile[1]) };
  if (kernel === "direct") {
    const pitch = pitchOf(sizes);
    const images = [[left, m] as const, [right, n] as const].map(([{ tensor, alongK }, rows]) =>
      pack(writer, tensor, { rows, width: k, pitch, alongRow: alongK })
    );
    writer.dispatch({
      source: filesOf("matrix_access_image.wgsl", "matrix_blocks.wgsl", "matrix_product_direct.wgsl"),
      sizes: { ...cut, K: k, PITCH: pitch },
      constants: { ...columns, LEFT_ALONG_K: true, RIGHT_ALONG_K: true, IMAGE_WIDTH },
      types: { Output: target.storage },
      bindings: [target],
      images,
      workgroups: spread(Math.ceil(tiles / DIRECT_GROUP), parts, writer.limits),
    });
  } else {
    const base = access(sizes, left, right, target, ["matrix_blocks.wgsl", "matrix_product_tiled.wgsl"]);
    writer.dispatch({
      ...base,
      sizes: { ...base.sizes, ...cut, TILES_M: Math.ceil(m / tile[0]) },
      constants: {
        ...base.constants,
        ...columns,
        LEFT_ALONG_K: left.alongK,
        RIGHT_ALONG_K: right.alongK,
        TILE: tile[0],
        TILE_K: depth,
      },
      workgroups: spread(tiles, parts, writer.limits),
    });
  }
  if (parts > 1) sumBlocks(writer, target, output);
}

/**
 * What all kernels are told: sizes, types, and how to read four elements at once. Rows in memory are those of
 * a micro-batch or of a weight; widths are a weight's, and the same in every run.
 */
function access(
  { m, n, k }: ProductSizes,
  left: Operand,
  right: Operand,
  output: WgslTensor,
  files: readonly string[],
) {
  const [leftRows, leftWidth] = left.alongK ? [m, k] : [k, m];
  const [rightRows, rightWidth] = right.alongK ? [n, k] : [k, n];
  const inFours = [leftWidth, rightWidth, n].every((width) => width % 4 === 0);
  return {
    source: filesOf(`matrix_access_${inFours ? "vector" : "scalar"}.wgsl`, ...files),
    sizes: { K: k, LEFT_ROWS: leftRows, RIGHT_ROWS: rightRows },
    constants: { COLUMNS: n, LEFT_WIDTH: leftWidth, RIGHT_WIDTH: rightWidth },
    types: { Left: left.tensor.storage, Right: right.tensor.storage, Output: output.storage },
    bindings: [left.tensor, right.tensor, output],
  } satisfies Omit<Dispatch, "workgroups">;
}

function filesOf(...files: readonly string[]): readonly URL[] {
  return files.map((file) => new URL(`./${file}`, import.meta.url));
}

/** So many workgroups for each part. The kernel skips those beyond the last. */
function spread(groups: number, parts: number, limits: WgslLimits): [number, number, number] {
  const [x, y] = workgroupsOf(limits, groups);
  return [x, y, parts];
}

/** Rows of a tensor `[..., C]`. */
export function rowsOf({ shape }: WgslTensor): number {
  return elementCount(shape.slice(0, -1));
}
