/**
 * Frames as bytes. A prefix of fixed length, a CBOR header, then the tensors as
 * they are in memory: they pass through without being looked at or copied more
 * than once. It doesn't know what a header means.
 *
 * ```
 * 0       4         5       6      8               12               16
 * "MURM"  version   flags   zero   header length   payload length   header …  payload …
 * ```
 *
 * Numbers are little-endian. The header is `[frame header, [[data type, shape], …]]`;
 * each tensor starts at a multiple of 8 in the payload, and the payload ends with the
 * last. Everything is checked against `limits.ts` before memory is taken for it.
 */

import {
  FRAME_HEADER_BYTES_MAX,
  FRAME_PAYLOAD_BYTES_MAX,
  FRAME_TENSORS_MAX,
  TENSOR_RANK_MAX,
} from "../limits.ts";
import { decodeHeader, encodeHeader } from "./header.ts";
import { BadFrame, type Frame, type WireTensor } from "./wire.ts";

/** "MURM", read as a little-endian number. */
const MAGIC = 0x4d52554d;
const VERSION = 1;
const PREFIX_BYTES = 16;
const ALIGNMENT_BYTES = 8;

const ELEMENT_BYTES: Readonly<Record<WireTensor["dataType"], number>> = { f32: 4, i32: 4, u8: 1 };

/** What the header says of a tensor. */
type TensorForm = Pick<WireTensor, "dataType" | "shape">;

/**
 * A frame as pieces to be written one after another. The tensors' bytes are
 * among them as they are, not copied.
 *
 * @throws {TypeError} if the header is not plain, or a tensor's bytes don't fit its shape.
 * @throws {RangeError} if the frame is above a limit.
 */
export function encodeFrame({ header, tensors }: Frame): Uint8Array[] {
  const table = tensors.map(({ dataType, shape }) => [dataType, shape]);
  const { places, payloadBytes } = layOut(
    tensors,
    (reason) => new RangeError(`Cannot encode frame: ${reason}`),
  );
  tensors.forEach(({ bytes }, index) => {
    if (bytes.byteLength === places[index]!.bytes) return;
    throw new TypeError(
      `Cannot encode frame: tensor ${index} has ${bytes.byteLength} bytes, its shape ${places[index]!.bytes}`,
    );
  });
  const headerBytes = encodeHeader([header, table]);
  if (headerBytes.byteLength > FRAME_HEADER_BYTES_MAX) {
    throw new RangeError(
      `Cannot encode frame: its header has ${headerBytes.byteLength} bytes, at most ${FRAME_HEADER_BYTES_MAX}`,
    );
  }

  const first = new Uint8Array(PREFIX_BYTES + headerBytes.byteLength);
  const prefix = new DataView(first.buffer);
  prefix.setUint32(0, MAGIC, true);
  prefix.setUint8(4, VERSION);
  prefix.setUint32(8, headerBytes.byteLength, true);
  prefix.setUint32(12, payloadBytes, true);
  first.set(headerBytes, PREFIX_BYTES);

  const pieces: Uint8Array[] = [first];
  let written = 0;
  tensors.forEach(({ bytes }, index) => {
    const { offset } = places[index]!;
    if (offset > written) pieces.push(new Uint8Array(offset - written));
    if (bytes.byteLength > 0) pieces.push(bytes);
    written = offset + bytes.byteLength;
  });
  return pieces;
}

/** How to take memory for a payload: exactly `bytes` long, at a multiple of 8 in its buffer. */
export type Allocate = (bytes: number) => Uint8Array;

/** What is being received: into which memory, and how far. */
interface Section {
  readonly name: "prefix" | "header" | "payload";
  readonly into: Uint8Array;
  filled: number;
}

/**
 * Puts frames together from chunks, however the stream was cut. Each payload is
 * copied once, into the one buffer that its tensors are views of.
 */
export class FrameDecoder {
  readonly #allocate: Allocate;
  readonly #prefix = new Uint8Array(PREFIX_BYTES);
  #section: Section;
  #payloadBytes = 0;
  /** The frame whose payload is being received. */
  #header: unknown;
  #table: readonly TensorForm[] = [];
  #places: readonly Place[] = [];
  #refused: BadFrame | undefined;

  /**
   * A decoder at the beginning of a stream.
   *
   * @param allocate takes memory for payloads, from a pool say; default: fresh memory.
   */
  constructor(allocate: Allocate = (bytes) => new Uint8Array(bytes)) {
    this.#allocate = allocate;
    this.#section = { name: "prefix", into: this.#prefix, filled: 0 };
  }

  /**
   * Takes the next chunk; gives each frame that it completes. The chunk is read
   * while the result is iterated, so iterate it to its end. The chunk may be
   * used again afterwards.
   *
   * @throws {BadFrame} if the stream can't be believed; and so at every later call.
   */
  *push(chunk: Uint8Array): Generator<Frame, void, void> {
    if (this.#refused !== undefined) throw this.#refused;
    let at = 0;
    while (at < chunk.byteLength) {
      const section = this.#section;
      const taken = Math.min(chunk.byteLength - at, section.into.byteLength - section.filled);
      section.into.set(chunk.subarray(at, at + taken), section.filled);
      section.filled += taken;
      at += taken;
      // A section of no bytes is complete without another chunk.
      while (this.#section.filled === this.#section.into.byteLength) {
        const frame = this.#complete();
        if (frame !== undefined) yield frame;
      }
    }
  }

  /**
   * The stream has ended.
   * @throws {BadFrame} if it ended in the middle of a frame.
   */
  finish(): void {
    if (this.#refused !== undefined) throw this.#refused;
    const { name, into, filled } = this.#section;
    if (name === "prefix" && filled === 0) return;
    throw new BadFrame(
      `Cannot take frame: the stream ended after ${filled} of ${into.byteLength} bytes of its ${name}`,
    );
  }

  #complete(): Frame | undefined {
    try {
      switch (this.#section.name) {
        case "prefix":
          return this.#beginHeader();
        case "header":
          return this.#beginPayload(this.#section.into);
        case "payload":
          return this.#frame(this.#section.into);
      }
    } catch (error) {
      if (error instanceof BadFrame) this.#refused = error;
      throw error;
    }
  }

  #begin(name: Section["name"], into: Uint8Array): void {
    this.#section = { name, into, filled: 0 };
  }

  #beginHeader(): undefined {
    const prefix = new DataView(this.#prefix.buffer);
    if (prefix.getUint32(0, true) !== MAGIC) throw bad("it does not begin with MURM");
    if (prefix.getUint8(4) !== VERSION) {
      throw bad(`its version is ${prefix.getUint8(4)}, this peer speaks ${VERSION}`);
    }
    if (prefix.getUint8(5) !== 0 || prefix.getUint16(6) !== 0) throw bad("it sets flags that mean nothing");
    const headerBytes = prefix.getUint32(8, true);
    this.#payloadBytes = prefix.getUint32(12, true);
    if (headerBytes > FRAME_HEADER_BYTES_MAX) {
      throw bad(`its header has ${headerBytes} bytes, at most ${FRAME_HEADER_BYTES_MAX}`);
    }
    if (this.#payloadBytes > FRAME_PAYLOAD_BYTES_MAX) {
      throw bad(`its payload has ${this.#payloadBytes} bytes, at most ${FRAME_PAYLOAD_BYTES_MAX}`);
    }
    this.#begin("header", new Uint8Array(headerBytes));
  }

  #beginPayload(headerBytes: Uint8Array): undefined {
    const decoded = decodeHeader(headerBytes);
    if (!Array.isArray(decoded) || decoded.length !== 2 || !Array.isArray(decoded[1])) {
      throw bad("its header is not a pair of header and table");
    }
    const [header, rows] = decoded;
    const table = (rows as unknown[]).map(formOf);
    const { places, payloadBytes } = layOut(table, bad);
    if (payloadBytes !== this.#payloadBytes) {
      throw bad(`its payload has ${this.#payloadBytes} bytes, its tensors ${payloadBytes}`);
    }
    this.#header = header;
    this.#table = table;
    this.#places = places;
    this.#begin("payload", payloadBytes === 0 ? new Uint8Array() : this.#allocate(payloadBytes));
  }

  #frame(payload: Uint8Array): Frame {
    const frame: Frame = {
      header: this.#header,
      tensors: this.#table.map((form, index) => {
        const { offset, bytes } = this.#places[index]!;
        return { ...form, bytes: payload.subarray(offset, offset + bytes) };
      }),
    };
    // The frame belongs to its receiver now; nothing of it stays here.
    this.#header = undefined;
    this.#table = [];
    this.#places = [];
    this.#begin("prefix", this.#prefix);
    return frame;
  }
}

/** Where a tensor lies in the payload. */
interface Place {
  readonly offset: number;
  readonly bytes: number;
}

/** Finds every tensor's place; throws what `refuse` makes of a reason. */
function layOut(
  tensors: readonly TensorForm[],
  refuse: (reason: string) => Error,
): { places: Place[]; payloadBytes: number } {
  if (tensors.length > FRAME_TENSORS_MAX) {
    throw refuse(`it has ${tensors.length} tensors, at most ${FRAME_TENSORS_MAX}`);
  }
  const places: Place[] = [];
  let payloadBytes = 0;
  tensors.forEach(({ dataType, shape }, index) => {
    if (shape.length > TENSOR_RANK_MAX) {
      throw refuse(`tensor ${index} has ${shape.length} dimensions, at most ${TENSOR_RANK_MAX}`);
    }
    let bytes = ELEMENT_BYTES[dataType];
    for (const size of shape) {
      // Checked one by one, so that no product grows beyond what a number holds exactly.
      if (!Number.isInteger(size) || size < 0 || size > FRAME_PAYLOAD_BYTES_MAX) {
        throw refuse(`tensor ${index} has a dimension of ${size}`);
      }
      bytes *= size;
      if (bytes > FRAME_PAYLOAD_BYTES_MAX) {
        throw refuse(`tensor ${index} has more than ${FRAME_PAYLOAD_BYTES_MAX} bytes`);
      }
    }
    const offset = Math.ceil(payloadBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    places.push({ offset, bytes });
    payloadBytes = offset + bytes;
  });
  if (payloadBytes > FRAME_PAYLOAD_BYTES_MAX) {
    throw refuse(`its payload has ${payloadBytes} bytes, at most ${FRAME_PAYLOAD_BYTES_MAX}`);
  }
  return { places, payloadBytes };
}

/** A row of the table that a peer sent; its numbers are checked by {@link layOut}. */
function formOf(row: unknown, index: number): TensorForm {
  if (!Array.isArray(row) || row.length !== 2) throw bad(`row ${index} of its table is not a pair`);
  const [dataType, shape] = row as [unknown, unknown];
  if (typeof dataType !== "string" || !Object.hasOwn(ELEMENT_BYTES, dataType)) {
    throw bad(`tensor ${index} has an unknown data type`);
  }
  if (!Array.isArray(shape)) throw bad(`tensor ${index} has no shape`);
  return { dataType: dataType as WireTensor["dataType"], shape };
}

function bad(reason: string): BadFrame {
  return new BadFrame(`Cannot take frame: ${reason}`);
}
