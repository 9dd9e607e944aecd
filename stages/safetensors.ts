/**
 * Published weights: a file of tensors behind a JSON header that says where each
 * lies (the safetensors format, huggingface.co/docs/safetensors). Tensors are
 * read one by one, by their range, so that a host touches only what its stage
 * holds. A header from a stranger is safe to give to it. It opens no files,
 * rounds no numbers (`narrow.ts` does) and knows no models.
 */

import { z } from "zod";

/** Element types that can be read and written. */
export type SafetensorsType = "F32" | "F16" | "BF16";

/** Where one tensor lies. */
export interface SafetensorsEntry {
  /** Of its elements, in the file. */
  readonly dataType: SafetensorsType;
  /** Sizes, the slowest dimension first. */
  readonly shape: readonly number[];
  /** Its first byte, counted from the start of the file. */
  readonly begin: number;
  /** The first byte behind it. */
  readonly end: number;
}

/** Somewhere bytes can be had by their range: a file, say. */
export interface ByteSource {
  /** What a person finds it by, if anything. */
  readonly name?: string;
  /** Length of all of it. */
  readonly bytes: number;
  /** The bytes from `begin` up to, but not with, `end`. */
  read(begin: number, end: number): Promise<Uint8Array>;
}

/** A file that is not to be believed. */
export class BadSafetensors extends TypeError {
  /** Tells it from other errors. */
  override name = "BadSafetensors";
}

/** The format's own bound on the header, in bytes. */
const HEADER_BYTES_MAX = 100_000_000;
const PREFIX_BYTES = 8;
/** Bytes that are read and widened at once, so that a large matrix is never held whole. */
const CHUNK_BYTES = 16 * 1024 * 1024;

/** Length of one element in a file. */
export const ELEMENT_BYTES: Readonly<Record<SafetensorsType, number>> = { F32: 4, F16: 2, BF16: 2 };
const size = z.int().min(0);
const entrySchema = z.object({
  dtype: z.string().max(16),
  shape: z.array(size).max(8),
  data_offsets: z.tuple([size, size]),
});

/**
 * Reads a file's header: the tensors that can be read, by their names. Others (integers, say) are left out.
 *
 * @throws {BadSafetensors} if the header is too long or not JSON, or a tensor lies outside the file, or
 *   is not as long as its shape says.
 */
export async function readSafetensorsHeader(
  source: ByteSource,
): Promise<ReadonlyMap<string, SafetensorsEntry>> {
  const refuse = (why: string): never => {
    throw new BadSafetensors(
      `Cannot read safetensors${source.name === undefined ? "" : ` ${source.name}`}: ${why}`,
    );
  };
  if (source.bytes < PREFIX_BYTES) refuse(`${source.bytes} bytes are no header`);
  const prefix = await source.read(0, PREFIX_BYTES);
  const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getBigUint64(0, true);
  const available = BigInt(Math.min(HEADER_BYTES_MAX, source.bytes - PREFIX_BYTES));
  if (length > available) refuse(`header of ${length} bytes, expected at most ${available}`);
  const start = PREFIX_BYTES + Number(length);

  let header: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await source.read(PREFIX_BYTES, start));
    header = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
    refuse(`the header is no JSON`);
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    refuse("the header is no object");
  }
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, raw] of Object.entries(header as object)) {
    if (name === "__metadata__") continue;
    const parsed = entrySchema.safeParse(raw);
    if (!parsed.success) refuse(`tensor ${JSON.stringify(name.slice(0, 80))} is not described`);
    const { dtype, shape, data_offsets: [from, to] } = parsed.data!;
    if (!Object.hasOwn(ELEMENT_BYTES, dtype)) continue;
    const dataType = dtype as SafetensorsType;
    const bytes = shape.reduce((product, length) => product * length, ELEMENT_BYTES[dataType]);
    if (from > to || to > source.bytes - start) {
      refuse(`tensor ${JSON.stringify(name.slice(0, 80))} lies at ${from} to ${to}, outside of the file`);
    }
    if (to - from !== bytes) {
      refuse(
        `tensor ${JSON.stringify(name.slice(0, 80))} has ${to - from} bytes, expected ${bytes} for ` +
          `${dtype} [${shape.join(", ")}]`,
      );
    }
    entries.set(name, { dataType, shape, begin: start + from, end: start + to });
  }
  return entries;
}

/**
 * Reads one tensor part by part and widens it to `f32`, which all three types fit into exactly.
 *
 * @returns its elements in order, row-major.
 */
export async function* safetensorParts(
  source: ByteSource,
  entry: SafetensorsEntry,
): AsyncGenerator<Float32Array, void, void> {
  for (let begin = entry.begin; begin < entry.end; begin += CHUNK_BYTES) {
    const bytes = await source.read(begin, Math.min(entry.end, begin + CHUNK_BYTES));
    yield widen(bytes, entry.dataType);
  }
}

/**
 * Reads one tensor whole.
 *
 * @returns product(shape) elements, row-major.
 */
export async function readSafetensor(source: ByteSource, entry: SafetensorsEntry): Promise<Float32Array> {
  const values = new Float32Array((entry.end - entry.begin) / ELEMENT_BYTES[entry.dataType]);
  let at = 0;
  for await (const part of safetensorParts(source, entry)) {
    values.set(part, at);
    at += part.length;
  }
  return values;
}

function widen(bytes: Uint8Array, dataType: SafetensorsType): Float32Array {
  const values = new Float32Array(bytes.length / ELEMENT_BYTES[dataType]);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (dataType) {
    case "F32":
      for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(4 * i, true);
      return values;
    case "F16":
      for (let i = 0; i < values.length; i++) values[i] = view.getFloat16(2 * i, true);
      return values;
    case "BF16": {
      // The upper half of an f32.
      const words = new Uint32Array(values.buffer);
      for (let i = 0; i < words.length; i++) words[i] = view.getUint16(2 * i, true) << 16;
      return values;
    }
  }
}

/** A tensor that is to be written. */
export interface SafetensorsTensor {
  /** Unique in its file. */
  readonly name: string;
  /** Sizes, the slowest dimension first. */
  readonly shape: readonly number[];
}

/**
 * The header of a file whose tensors follow in this order, without a gap.
 *
 * @param dataType of all of them.
 * @param metadata text that readers of the file may want.
 * @returns its bytes, the prefix included, padded to 8 as the format asks.
 */
export function safetensorsHeader(
  tensors: readonly SafetensorsTensor[],
  dataType: SafetensorsType = "F32",
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } };
  let offset = 0;
  for (const { name, shape } of tensors) {
    const end = offset + shape.reduce((product, length) => product * length, ELEMENT_BYTES[dataType]);
    header[name] = { dtype: dataType, shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(PREFIX_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, PREFIX_BYTES);
  return bytes;
}
