/**
 * The state of a stage as bytes that are the same wherever they are made, cut
 * into pieces that are named by their content. Bytes from a stranger are
 * believed only if their hashes are the ones that were asked for. It opens no
 * files and no connections.
 *
 * Layout, little-endian: 8 bytes of magic, the step as an unsigned 64-bit
 * integer, then as f32 all parameters, all first moments and all second
 * moments, each in the order of the stage's layout.
 */

import { createHash } from "node:crypto";
import { canonicalJson } from "../run/mod.ts";
import { firstNotFinite } from "./checks.ts";
import type { Parameter, StageLayout } from "./parameters.ts";
import type { StateManifest } from "./stage.ts";

/** Length of a piece of all but large states. One fits well into a frame, and its loss costs little. */
export const PIECE_BYTES = 1024 * 1024;
/** Pieces of one state: their names travel in one header. */
export const PIECES_MAX = 3500;
/** The longest pieces are as long; a host holds a few of them at once. */
const PIECE_BYTES_MAX = 64 * PIECE_BYTES;

const FORMAT = "murmuration-state-1";
const MAGIC = new TextEncoder().encode("MURMUST1");
const HEADER_BYTES = 16;

/** What a state holds for each parameter, in the order in which it holds them. */
export const SECTIONS = ["parameter", "m", "v"] as const;
export type Section = typeof SECTIONS[number];

/** A state that is not what it says it is. */
export class BadState extends TypeError {
  /** Tells it from other errors. */
  override name = "BadState";
}

/** Length of the state of a stage, in bytes. */
export function stateBytes(layout: StageLayout): number {
  return HEADER_BYTES + SECTIONS.length * layout.size * 4;
}

/**
 * Length of every piece but the last of the states of a stage, in bytes: doubled for large ones until there
 * are no more than {@link PIECES_MAX}. It follows from the layout alone, so that nobody may choose it.
 *
 * @throws {BadState} if the stage is too large: beyond some 19 billion parameters.
 */
export function pieceBytesOf(layout: StageLayout): number {
  const bytes = stateBytes(layout);
  let length = PIECE_BYTES;
  while (Math.ceil(bytes / length) > PIECES_MAX) length *= 2;
  if (length <= PIECE_BYTES_MAX) return length;
  throw new BadState(
    `Cannot cut a state of ${bytes} bytes into pieces: ${PIECES_MAX} of ${PIECE_BYTES_MAX} bytes are allowed; ` +
      "cut the model into more stages",
  );
}

/** The first bytes of a state. */
export function stateHeader(step: number): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(MAGIC);
  new DataView(header.buffer).setBigUint64(8, BigInt(step), true);
  return header;
}

/** Where a parameter, or its moment, begins in the state's bytes. */
export function stateOffset(layout: StageLayout, section: Section, parameter: Parameter): number {
  return HEADER_BYTES + 4 * (SECTIONS.indexOf(section) * layout.size + parameter.offset);
}

/** Hashes a state that arrives in parts of any length, without holding it. */
export class StateHasher {
  readonly #layout: StageLayout;
  readonly #step: number;
  readonly #pieceBytes: number;
  readonly #pieces: string[] = [];
  #piece = createHash("sha256");
  #room: number;
  #bytes = 0;

  /** Begins with nothing. @throws {BadState} if the stage is too large, see {@link pieceBytesOf}. */
  constructor(layout: StageLayout, step: number) {
    this.#layout = layout;
    this.#step = step;
    this.#pieceBytes = this.#room = pieceBytesOf(layout);
  }

  /** Takes the next bytes. */
  update(bytes: Uint8Array): void {
    let rest = bytes;
    while (rest.length > 0) {
      const part = rest.subarray(0, this.#room);
      this.#piece.update(part);
      this.#room -= part.length;
      this.#bytes += part.length;
      rest = rest.subarray(part.length);
      if (this.#room === 0) this.#closePiece();
    }
  }

  /**
   * The manifest of what was taken.
   *
   * @throws {TypeError} if the bytes so far are not a whole state.
   */
  finish(): StateManifest {
    const expected = stateBytes(this.#layout);
    if (this.#bytes !== expected) {
      throw new TypeError(`Cannot hash state: ${this.#bytes} of ${expected} bytes were given`);
    }
    if (this.#room < this.#pieceBytes) this.#closePiece();
    const content = {
      step: this.#step,
      pieces: [...this.#pieces],
      pieceBytes: this.#pieceBytes,
      bytes: expected,
    };
    return { ...content, stateHash: stateHash(this.#layout, content) };
  }

  #closePiece(): void {
    this.#pieces.push(this.#piece.digest("hex"));
    this.#piece = createHash("sha256");
    this.#room = this.#pieceBytes;
  }
}

/**
 * Checks a state's manifest by itself: lengths fit the layout, and the state
 * hash is that of its own content. Compare `stateHash` with the one that a
 * quorum signed, and everything else in it can be believed.
 *
 * @throws {BadState} if not.
 */
export function checkStateManifest(layout: StageLayout, manifest: StateManifest): void {
  const refuse = (why: string): never => {
    throw new BadState(`Cannot accept state manifest: ${why}`);
  };
  const { step, pieces, pieceBytes, bytes } = manifest;
  if (!Number.isSafeInteger(step) || step < 0) refuse(`step is ${step}`);
  const expected = pieceBytesOf(layout);
  if (pieceBytes !== expected) refuse(`pieces are ${pieceBytes} bytes long, expected ${expected}`);
  if (bytes !== stateBytes(layout)) {
    refuse(`state is ${bytes} bytes long, that of this stage ${stateBytes(layout)}`);
  }
  const count = Math.ceil(bytes / pieceBytes);
  if (!Array.isArray(pieces) || pieces.length !== count) {
    refuse(`it names ${pieces?.length} pieces, expected ${count}`);
  }
  pieces.forEach((piece, index) => {
    if (!isHash(piece)) refuse(`piece ${index} is named ${describe(piece)}, expected a SHA-256`);
  });
  const found = stateHash(layout, manifest);
  if (found !== manifest.stateHash) {
    refuse(`state hash is ${describe(manifest.stateHash)}, its content has ${found}`);
  }
}

/** The bytes of one piece; a view, not a copy. @throws {RangeError} if there is no such piece. */
export function pieceOf(manifest: StateManifest, bytes: Uint8Array, index: number): Uint8Array {
  checkPieceIndex(manifest, index);
  const start = index * manifest.pieceBytes;
  return bytes.subarray(start, Math.min(start + manifest.pieceBytes, manifest.bytes));
}

/** Whether these bytes are that piece of the state. @throws {RangeError} if there is no such piece. */
export function isPiece(manifest: StateManifest, index: number, bytes: Uint8Array): boolean {
  checkPieceIndex(manifest, index);
  return sha256(bytes) === manifest.pieces[index];
}

/** Whether these bytes are what a piece of this name holds, of whatever state. */
export function isNamed(bytes: Uint8Array, piece: string): boolean {
  return sha256(bytes) === piece;
}

/**
 * Checks manifest and bytes of a whole state, contents included: numbers must
 * be finite and second moments not negative.
 *
 * @throws {BadState} if the bytes are not what the manifest names, or not of this stage.
 */
export function checkState(layout: StageLayout, manifest: StateManifest, bytes: Uint8Array): void {
  const refuse = (why: string): never => {
    throw new BadState(`Cannot accept state of step ${manifest.step}: ${why}`);
  };
  checkStateManifest(layout, manifest);
  if (bytes.length !== manifest.bytes) {
    refuse(`it is ${bytes.length} bytes long, named are ${manifest.bytes}`);
  }
  for (let index = 0; index < manifest.pieces.length; index++) {
    if (!isPiece(manifest, index, pieceOf(manifest, bytes, index))) {
      refuse(`piece ${index} has another hash than the one named`);
    }
  }
  const header = stateHeader(manifest.step);
  if (header.some((byte, index) => bytes[index] !== byte)) {
    refuse("it does not begin with its format and step");
  }
  for (const section of SECTIONS) {
    for (const parameter of layout.parameters) {
      const values = stateValues(layout, bytes, section, parameter);
      const what = section === "parameter" ? parameter.name : `${section} of ${parameter.name}`;
      const index = firstNotFinite(values);
      if (index >= 0) refuse(`value ${index} of ${what} is ${values[index]}`);
      const negative = section === "v" ? values.findIndex((value) => value < 0) : -1;
      if (negative >= 0) refuse(`value ${negative} of ${what} is ${values[negative]}`);
    }
  }
}

/** A copy of one parameter's values, or of its moments. */
export function stateValues(
  layout: StageLayout,
  bytes: Uint8Array,
  section: Section,
  parameter: Parameter,
): Float32Array {
  const start = stateOffset(layout, section, parameter);
  return new Float32Array(bytes.slice(start, start + 4 * parameter.size).buffer);
}

/** The bytes of numbers; a view, not a copy. */
export function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function stateHash(layout: StageLayout, content: Omit<StateManifest, "stateHash">): string {
  return sha256(canonicalJson({
    format: FORMAT,
    step: content.step,
    bytes: content.bytes,
    pieceBytes: content.pieceBytes,
    pieces: content.pieces,
    parameters: layout.parameters.map(({ name, shape }) => [name, shape]),
  }));
}

function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function isHash(value: unknown): boolean {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

function describe(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : `a ${typeof value}`;
}

function checkPieceIndex(manifest: StateManifest, index: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= manifest.pieces.length) {
    throw new RangeError(`Cannot take piece ${index}: the state has ${manifest.pieces.length}`);
  }
}

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) {
  throw new Error("Cannot lay states out: this machine is big-endian");
}
