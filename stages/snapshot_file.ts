/**
 * A snapshot that is read piece by piece, of a file that may be larger than
 * memory: its header first, then whichever pieces are wanted, each checked by
 * its hash. Whoever calls decides whether the state is the right one.
 */

import type { StageLayout } from "./parameters.ts";
import type { ByteSource } from "./safetensors.ts";
import { readSnapshotHeader, SNAPSHOT_HEADER_BYTES_MAX } from "./snapshot.ts";
import type { StateManifest } from "./stage.ts";
import { BadState, checkStateManifest, isPiece } from "./state.ts";

/** A snapshot whose header holds. */
export class SnapshotFile {
  /** Of the state that it holds. */
  readonly manifest: StateManifest;
  /** What its owner kept beside it. */
  readonly note: string;
  readonly #source: ByteSource;
  readonly #begin: number;

  private constructor(source: ByteSource, manifest: StateManifest, note: string, begin: number) {
    this.#source = source;
    this.manifest = manifest;
    this.note = note;
    this.#begin = begin;
  }

  /**
   * Reads the header.
   *
   * @param of whose snapshot it has to be.
   * @throws {BadState} if it is none, of another stage or run, or as long as its header doesn't say.
   */
  static async open(
    source: ByteSource,
    of: { readonly run: string; readonly stage: number; readonly layout: StageLayout },
  ): Promise<SnapshotFile> {
    const start = await source.read(0, Math.min(source.bytes, SNAPSHOT_HEADER_BYTES_MAX));
    const { manifest, note, length } = readSnapshotHeader(start, of);
    checkStateManifest(of.layout, manifest);
    if (source.bytes !== length + manifest.bytes) {
      throw new BadState(
        `Cannot read snapshot: ${source.bytes - length} bytes follow its header, named are ${manifest.bytes}`,
      );
    }
    return new SnapshotFile(source, manifest, note, length);
  }

  /**
   * One piece of the state.
   *
   * @throws {BadState} if the piece is not what the manifest names.
   */
  async piece(index: number): Promise<Uint8Array> {
    const from = index * this.manifest.pieceBytes;
    const to = Math.min(from + this.manifest.pieceBytes, this.manifest.bytes);
    const bytes = await this.#source.read(this.#begin + from, this.#begin + to);
    if (isPiece(this.manifest, index, bytes)) return bytes;
    throw new BadState(`Cannot read snapshot: piece ${index} has another hash than the one named`);
  }
}
