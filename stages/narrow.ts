/**
 * From `f32` to the bytes of a narrower type, as published weights have them:
 * rounded to the nearest, and of two as near to the one whose last bit is zero
 * (IEEE 754, `roundTiesToEven`). It refuses numbers that would become infinite,
 * rather than to clamp them: a weight that large means that the model is broken,
 * or that the type does not suit it.
 */

import { ELEMENT_BYTES, type SafetensorsType } from "./safetensors.ts";

/** What lies beyond all finite numbers of a type by half a step: from there on rounding ends in infinity. */
const TOO_LARGE: Readonly<Record<SafetensorsType, number>> = {
  F32: 2 ** 128,
  F16: 65_520,
  BF16: 2 ** 128 - 2 ** 119,
};

/**
 * Numbers as bytes of a type, little-endian.
 *
 * @param what they are of, for the error.
 * @returns `ELEMENT_BYTES[dataType]` bytes for each.
 * @throws {RangeError} if one is not finite, or would not be.
 */
export function narrow(values: Float32Array, dataType: SafetensorsType, what: string): Uint8Array {
  const bound = TOO_LARGE[dataType];
  for (let i = 0; i < values.length; i++) {
    if (Math.abs(values[i]) < bound) continue;
    throw new RangeError(`Cannot write ${what} as ${dataType}: a value is ${values[i]}`);
  }
  const bytes = new Uint8Array(values.length * ELEMENT_BYTES[dataType]);
  const view = new DataView(bytes.buffer);
  switch (dataType) {
    case "F32":
      for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
      return bytes;
    case "F16":
      for (let i = 0; i < values.length; i++) view.setFloat16(2 * i, values[i], true);
      return bytes;
    case "BF16": {
      const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
      for (let i = 0; i < words.length; i++) view.setUint16(2 * i, upperHalf(words[i]), true);
      return bytes;
    }
  }
}

/** The upper 16 bits of a finite `f32`, rounded by the lower ones. What is carried may go into the exponent. */
function upperHalf(word: number): number {
  const even = (word >>> 16) & 1;
  return (word + 0x7fff + even) >>> 16;
}
