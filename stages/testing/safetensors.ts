/** Files of weights in memory. */

import { type ByteSource, safetensorsHeader, type SafetensorsTensor } from "../safetensors.ts";
import { bytesOf } from "../state.ts";

/** A file that is no more than its bytes. */
export function memorySource(content: Uint8Array): ByteSource {
  return {
    bytes: content.length,
    read: (begin, end) => Promise.resolve(content.slice(begin, end)),
  };
}

/** A file of `F32`. */
export function safetensorsFile(
  tensors: readonly (SafetensorsTensor & { readonly data: Float32Array })[],
): Uint8Array {
  return joined([safetensorsHeader(tensors), ...tensors.map(({ data }) => bytesOf(data))]);
}

/** A file of `BF16`; each value is cut to its upper half. */
export function brainFloatFile(
  tensors: readonly (SafetensorsTensor & { readonly data: Float32Array })[],
): Uint8Array {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    header[name] = { dtype: "BF16", shape, data_offsets: [offset, offset + 2 * data.length] };
    offset += 2 * data.length;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(text.length), true);
  const upperHalves = tensors.map(({ data }) => {
    const words = new Uint32Array(data.slice().buffer);
    return new Uint8Array(Uint16Array.from(words, (word) => word >>> 16).buffer);
  });
  return joined([prefix, text, ...upperHalves]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
