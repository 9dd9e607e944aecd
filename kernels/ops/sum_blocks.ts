/**
 * Sums in two passes, each in a fixed order: what each block adds up to, which
 * is the op's own kernel, and then the sum of the blocks.
 */

import { elementwise } from "../webgpu/elementwise.ts";
import type { WgslTensor, WgslWriter } from "../webgpu/writer.ts";

/** Blocks of rows that sum on their own: enough for a large machine, and few to add up. */
const BLOCKS_MAX = 256;

/** How rows are shared out over blocks. */
export interface RowBlocks {
  /** How many blocks. */
  readonly blocks: number;
  /** What the op's kernel has to know: block b holds rows b · BLOCK_ROWS and on, up to ROWS. */
  readonly sizes: { readonly ROWS: number; readonly BLOCK_ROWS: number };
}

/** Shares out so many rows; no block is empty. */
export function rowBlocks(rows: number): RowBlocks {
  const blockRows = Math.ceil(rows / BLOCKS_MAX);
  return { blocks: Math.ceil(rows / blockRows), sizes: { ROWS: rows, BLOCK_ROWS: blockRows } };
}

/** Fills `sum` with the sum of `blocks`, f32, which have its shape behind one more dimension. */
export function sumBlocks(writer: WgslWriter, blocks: WgslTensor, sum: WgslTensor): void {
  writer.dispatch(elementwise(writer.limits, sum, {
    source: [new URL("./sum_blocks.wgsl", import.meta.url)],
    sizes: { BLOCKS: blocks.shape[0] },
    types: { Sum: sum.storage },
    bindings: [blocks, sum],
  }));
}
