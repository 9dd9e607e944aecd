/**
 * The dialect of CBOR that frame headers are written in: what JSON has, byte
 * strings, and `undefined`. No tags, no indefinite lengths, no 64-bit integers,
 * no short floats, nothing nested without end. It doesn't know what a header means.
 *
 * Bytes are checked to be of the dialect before the library sees them, because
 * it gives meaning to far more than is ever sent here.
 */

import { Encoder } from "cbor-x";
import { FRAME_HEADER_DEPTH_MAX } from "../limits.ts";
import { BadFrame } from "./wire.ts";

const cbor = new Encoder({ useRecords: false, tagUint8Array: false });

/**
 * @throws {TypeError} if `value` holds anything but plain objects, arrays, strings, numbers,
 *   booleans, `null`, `undefined` and `Uint8Array`, or nests too deeply.
 */
export function encodeHeader(value: unknown): Uint8Array {
  assertPlain(value, 0);
  return cbor.encode(value);
}

/**
 * Byte strings in the result may be views into `bytes`.
 *
 * @throws {BadFrame} if the bytes are not exactly one value of the dialect.
 */
export function decodeHeader(bytes: Uint8Array): unknown {
  checkDialect(bytes);
  try {
    return cbor.decode(bytes);
  } catch (cause) {
    throw new BadFrame(`Cannot take frame: its header cannot be decoded: ${(cause as Error).message}`);
  }
}

function assertPlain(value: unknown, depth: number): void {
  if (typeof value !== "object") {
    if (typeof value !== "bigint" && typeof value !== "symbol" && typeof value !== "function") return;
    throw new TypeError(`Cannot encode header: it holds a ${typeof value}`);
  }
  if (value === null || value instanceof Uint8Array) return;
  if (depth >= FRAME_HEADER_DEPTH_MAX) {
    throw new TypeError(`Cannot encode header: it nests deeper than ${FRAME_HEADER_DEPTH_MAX}`);
  }
  if (!Array.isArray(value)) {
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      throw new TypeError(`Cannot encode header: it holds a ${value.constructor?.name}`);
    }
  }
  for (const inner of Object.values(value)) assertPlain(inner, depth + 1);
}

const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const TAG = 6;
const SIMPLE = 7;
/** `false`, `true`, `null`, `undefined`. */
const SIMPLE_VALUES = [20, 21, 22, 23];
/** Marks a 64-bit argument: of a simple value, a double. */
const EIGHT_BYTES = 27;

/** Walks the bytes once, holding one number for each level of nesting. */
function checkDialect(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** Items that each open array or map still lacks; a map's keys count too. */
  const lacking: number[] = [];
  /** For each of these, whether it is a map. */
  const maps: boolean[] = [];
  let at = 0;
  const need = (count: number): void => {
    if (count > bytes.length - at) throw bad(`${count} bytes are announced, ${bytes.length - at} are left`);
  };
  do {
    need(1);
    const major = bytes[at]! >> 5;
    const info = bytes[at]! & 31;
    at++;
    const level = lacking.length - 1;
    // An even number of items lacking: the next one is a key.
    if (maps[level] && lacking[level]! % 2 === 0 && major !== TEXT) throw bad("a key is not text");
    if (level >= 0) lacking[level]!--;

    if (major === TAG) throw bad("tags are not taken");
    if (major === SIMPLE) {
      if (info === EIGHT_BYTES) {
        need(8);
        at += 8;
      } else if (!SIMPLE_VALUES.includes(info)) throw bad(`simple value or float ${info} is not taken`);
    } else {
      if (info > 26) throw bad("lengths without end and 64-bit integers are not taken");
      const width = info < 24 ? 0 : 1 << (info - 24);
      need(width);
      const argument = width === 0
        ? info
        : width === 1
        ? view.getUint8(at)
        : width === 2
        ? view.getUint16(at)
        : view.getUint32(at);
      at += width;
      if (major === BYTES || major === TEXT) {
        need(argument);
        at += argument;
      } else if (major === ARRAY || major === MAP) {
        if (lacking.length >= FRAME_HEADER_DEPTH_MAX) {
          throw bad(`it nests deeper than ${FRAME_HEADER_DEPTH_MAX}`);
        }
        const items = major === MAP ? 2 * argument : argument;
        need(items);
        lacking.push(items);
        maps.push(major === MAP);
      }
    }
    while (lacking.at(-1) === 0) {
      lacking.pop();
      maps.pop();
    }
  } while (lacking.length > 0);
  if (at < bytes.length) throw bad(`${bytes.length - at} bytes follow its end`);
}

function bad(reason: string): BadFrame {
  return new BadFrame(`Cannot take frame: its header is not plain CBOR: ${reason}`);
}
