/**
 * A stage's state as a file of published weights, made piece by piece as pieces
 * arrive, in any order: where each goes, and what it becomes. Moments are left
 * out: they are the optimizer's. It opens no files, and holds nothing of what
 * passes through it.
 */

import { narrow } from "./narrow.ts";
import type { StageLayout } from "./parameters.ts";
import { ELEMENT_BYTES, safetensorsHeader, type SafetensorsType } from "./safetensors.ts";
import { pieceBytesOf, stateOffset } from "./state.ts";

/** Bytes, and where in a file they belong. */
export interface PlacedBytes {
  /** Of the first, counted from the start of the file. */
  readonly at: number;
  /** What belongs there. */
  readonly bytes: Uint8Array;
}

/** How the parameters of a stage lie in a file. */
export class WeightFile {
  /** What the file begins with. */
  readonly header: Uint8Array;
  /** Length of the file, header included. */
  readonly bytes: number;
  /** Pieces of the state that hold parameters: those from 0 up to, but not with, this. */
  readonly pieces: number;
  readonly #dataType: SafetensorsType;
  readonly #name: string;
  /** Where in a state the parameters begin, and where they end. */
  readonly #begin: number;
  readonly #end: number;
  readonly #pieceBytes: number;

  /**
   * A file for the parameters of one stage.
   *
   * @param name for errors.
   * @param metadata text that readers of the file may want.
   */
  constructor(
    name: string,
    layout: StageLayout,
    dataType: SafetensorsType,
    metadata: Readonly<Record<string, string>> = {},
  ) {
    this.#name = name;
    this.#dataType = dataType;
    this.header = safetensorsHeader(layout.parameters, dataType, metadata);
    this.bytes = this.header.length + layout.size * ELEMENT_BYTES[dataType];
    this.#begin = stateOffset(layout, "parameter", layout.parameters[0]);
    this.#end = this.#begin + 4 * layout.size;
    this.#pieceBytes = pieceBytesOf(layout);
    this.pieces = Math.ceil(this.#end / this.#pieceBytes);
  }

  /**
   * What one piece of the state becomes.
   *
   * @param piece its number, below {@link pieces}.
   * @param bytes of the whole piece.
   * @throws {RangeError} if a number can't be written in this type, see {@link narrow}.
   */
  place(piece: number, bytes: Uint8Array): PlacedBytes {
    const from = piece * this.#pieceBytes;
    const begin = Math.max(from, this.#begin);
    const end = Math.min(from + bytes.length, this.#end);
    // Pieces and header are multiples of four bytes long: no number is cut in two.
    const values = new Float32Array(bytes.slice(begin - from, end - from).buffer);
    const at = this.header.length + (begin - this.#begin) / 4 * ELEMENT_BYTES[this.#dataType];
    return { at, bytes: narrow(values, this.#dataType, this.#name) };
  }
}
