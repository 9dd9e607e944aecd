/**
 * Puts tensors into images, from which adapters that are the processor itself
 * load many times as fast as from buffers.
 */

import { elementwise } from "../webgpu/elementwise.ts";
import { IMAGE_WIDTH, type WgslImage, type WgslTensor, type WgslWriter } from "../webgpu/writer.ts";

/** How a tensor lies in an image: each row on its own, four elements to a texel. */
export interface Packing {
  readonly rows: number;
  /** Elements of a row; a last texel that they do not fill ends with zeros. */
  readonly width: number;
  /** Texels from one row to the next. */
  readonly pitch: number;
  /** Whether neighbours in a row are neighbours in memory; else they are `rows` apart. */
  readonly alongRow: boolean;
}

/** Whether an image holds so much. */
export function fitsImage({ rows, pitch }: Pick<Packing, "rows" | "pitch">): boolean {
  return rows * pitch <= IMAGE_WIDTH ** 2;
}

/** Packs a tensor. */
export function pack(writer: WgslWriter, tensor: WgslTensor, packing: Packing): WgslImage {
  const { rows, width, pitch, alongRow } = packing;
  const image = writer.image(rows * pitch);
  writer.dispatch(elementwise(writer.limits, { storage: "f32", shape: [rows, Math.ceil(width / 4)] }, {
    source: [new URL("./pack.wgsl", import.meta.url)],
    sizes: { ROWS: rows, LENGTH: width, PITCH: pitch },
    constants: { ALONG_ROW: alongRow, IMAGE_WIDTH },
    types: { X: tensor.storage },
    bindings: [tensor],
    images: [image],
  }));
  return image;
}
