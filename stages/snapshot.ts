/**
 * A stage's state on its host's own disk: written so that a power cut leaves
 * the old or the new, and read back only if every hash holds. It keeps the last
 * two. The disk arrives as an argument; nothing is known of folders here.
 *
 * A file is a line of JSON (format, run, stage, the state's manifest, a note of
 * the owner's) and the state's bytes.
 */

import { z } from "zod";
import { canonicalJson } from "../run/mod.ts";
import type { StageLayout } from "./parameters.ts";
import type { StateManifest } from "./stage.ts";
import { BadState, checkState, isNamed, pieceBytesOf, PIECES_MAX, stateBytes } from "./state.ts";

/** A flat folder of files. */
export interface Disk {
  /** Names of all files. */
  list(): Promise<readonly string[]>;
  /**
   * A file's contents, `undefined` if there is none.
   * @throws {RangeError} if it is longer than `bytesMax`.
   */
  read(name: string, bytesMax: number): Promise<Uint8Array | undefined>;
  /** Writes a file of these parts, one after the other, durably: after a crash all of it is there, or what was there before. */
  writeAtomic(name: string, parts: readonly Uint8Array[]): Promise<void>;
  /** Nothing happens if there is no such file. */
  remove(name: string): Promise<void>;
}

/** A file that could not be believed. */
export interface RejectedSnapshot {
  /** Of the file. */
  readonly name: string;
  /** Why it was passed over. */
  readonly reason: string;
}

/** A stage's state, whole. */
export interface WholeState {
  /** Its step, and the hashes of its pieces. */
  readonly manifest: StateManifest;
  /** The pieces, one after the other. */
  readonly bytes: Uint8Array;
}

/** What was found on a disk. */
export interface Restored {
  /** The newest state that holds, `undefined` if there is none. */
  readonly state: WholeState | undefined;
  /** Files that were newer, and why they were passed over. */
  readonly rejected: readonly RejectedSnapshot[];
}

const FORMAT = "murmuration-snapshot-1";
/** Snapshots that stay on the disk: the newest, and one to fall back to. */
export const KEPT_SNAPSHOTS = 2;
const NAME = /^snapshot-(\d{1,15})\.state$/;
const LINE_END = 0x0a;

/** Characters of the text that is kept beside a state: names and signatures of all who vouch for it. */
export const NOTE_LENGTH_MAX = 512 * 1024;

const headerSchema = z.strictObject({
  format: z.literal(FORMAT),
  run: z.string().max(128),
  stage: z.int(),
  manifest: z.strictObject({
    step: z.int(),
    stateHash: z.string(),
    pieces: z.array(z.string()),
    pieceBytes: z.int(),
    bytes: z.int(),
  }),
  note: z.string().max(NOTE_LENGTH_MAX).default(""),
});

/** The snapshots of one stage of one run on one disk. Not for two writers at once. */
export class Snapshots {
  readonly #disk: Disk;
  readonly #run: string;
  readonly #stage: number;
  readonly #layout: StageLayout;
  /** Names of files that can't serve to fall back to. */
  readonly #broken = new Set<string>();

  /**
   * Names the stage whose snapshots these are.
   *
   * @param options.run hash of the run's manifest: snapshots of others are foreign.
   * @param options.stage index of the stage.
   */
  constructor(
    options: {
      readonly disk: Disk;
      readonly run: string;
      readonly stage: number;
      readonly layout: StageLayout;
    },
  ) {
    this.#disk = options.disk;
    this.#run = options.run;
    this.#stage = options.stage;
    this.#layout = options.layout;
  }

  /**
   * Writes a state, then removes all snapshots but this and the newest before it that is not known to be broken.
   *
   * @param note whatever is to be kept beside it.
   * @throws {RangeError} if the note is too long.
   */
  async write(manifest: StateManifest, bytes: Uint8Array, note = ""): Promise<void> {
    if (note.length > NOTE_LENGTH_MAX) {
      throw new RangeError(
        `Cannot write snapshot: its note is ${note.length} long, at most ${NOTE_LENGTH_MAX}`,
      );
    }
    const older = await this.#newestFirst();
    const number = (older[0]?.number ?? 0) + 1;
    const { step, stateHash, pieces, pieceBytes } = manifest;
    const header = canonicalJson({
      format: FORMAT,
      run: this.#run,
      stage: this.#stage,
      manifest: { step, stateHash, pieces, pieceBytes, bytes: manifest.bytes },
      note,
    });
    await this.#disk.writeAtomic(nameOf(number), [new TextEncoder().encode(`${header}\n`), bytes]);
    const sound = older.filter(({ name }) => !this.#broken.has(name)).slice(0, KEPT_SNAPSHOTS - 1);
    for (const snapshot of older) {
      if (!sound.includes(snapshot)) await this.#disk.remove(snapshot.name);
      this.#broken.delete(snapshot.name);
    }
  }

  /** Reads the newest state that holds, and says which files did not. */
  async restore(): Promise<Restored> {
    return await this.#find(() => true);
  }

  /** Reads the state of this hash, if it is there and holds, and says which newer files did not. */
  async load(stateHash: string): Promise<Restored> {
    return await this.#find((manifest) => manifest.stateHash === stateHash);
  }

  /** All states that hold with their notes, the newest first, and which files did not hold. Reads every file. */
  async list(): Promise<{
    readonly snapshots: readonly { readonly manifest: StateManifest; readonly note: string }[];
    readonly rejected: readonly RejectedSnapshot[];
  }> {
    const snapshots: { manifest: StateManifest; note: string }[] = [];
    const { rejected } = await this.#find((manifest, note) => {
      snapshots.push({ manifest, note });
      return false;
    });
    return { snapshots, rejected };
  }

  /**
   * Pieces by name, as far as files hold them, though the rest of a file may be damaged, or of another
   * step. Each is a piece whose hash is its name. Reads every file that says it has one.
   */
  async salvage(wanted: readonly string[]): Promise<Map<string, Uint8Array>> {
    const missing = new Set(wanted);
    const pieceBytes = pieceBytesOf(this.#layout);
    const found = new Map<string, Uint8Array>();
    for (const { name } of await this.#newestFirst()) {
      if (missing.size === 0) break;
      try {
        const contents = await this.#disk.read(name, this.#bytesMax());
        if (contents === undefined) continue;
        const { header, bytes } = this.#parts(contents);
        header.manifest.pieces.forEach((piece, index) => {
          if (!missing.has(piece)) return;
          const content = bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes);
          if (!isNamed(content, piece)) return;
          // A copy: the file's contents need not stay in memory for one piece of them.
          found.set(piece, content.slice());
          missing.delete(piece);
        });
      } catch (error) {
        if (!(error instanceof BadState || error instanceof RangeError)) throw error;
      }
    }
    return found;
  }

  async #find(isWanted: (manifest: StateManifest, note: string) => boolean): Promise<Restored> {
    const rejected: RejectedSnapshot[] = [];
    for (const { name } of await this.#newestFirst()) {
      try {
        const contents = await this.#disk.read(name, this.#bytesMax());
        if (contents === undefined) continue;
        const { header, bytes } = this.#parts(contents);
        const { manifest, note } = header;
        checkState(this.#layout, manifest, bytes);
        if (isWanted(manifest, note)) return { state: { manifest, bytes }, rejected };
      } catch (error) {
        // Broken files are what this is for; a disk that fails otherwise is the caller's to hear of.
        if (!(error instanceof BadState || error instanceof RangeError)) throw error;
        rejected.push({ name, reason: error.message });
        this.#broken.add(name);
      }
    }
    return { state: undefined, rejected };
  }

  #parts(
    contents: Uint8Array,
  ): { readonly header: SnapshotHeader; readonly bytes: Uint8Array } {
    const header = readSnapshotHeader(contents, { run: this.#run, stage: this.#stage, layout: this.#layout });
    return { header, bytes: contents.subarray(header.length) };
  }

  async #newestFirst(): Promise<{ readonly name: string; readonly number: number }[]> {
    return newestFirst(await this.#disk.list());
  }

  #bytesMax(): number {
    return SNAPSHOT_HEADER_BYTES_MAX + stateBytes(this.#layout);
  }
}

/** What a snapshot says of itself. */
export interface SnapshotHeader {
  readonly manifest: StateManifest;
  /** What its owner kept beside it. */
  readonly note: string;
  /** Bytes before the state's first. */
  readonly length: number;
}

/** Hashes of the pieces, with quotes and commas, a note in which every character is escaped, and room for the rest. */
export const SNAPSHOT_HEADER_BYTES_MAX = 4096 + 6 * NOTE_LENGTH_MAX + 67 * PIECES_MAX;

/**
 * Reads a snapshot's header.
 *
 * @param start of the file; what lies behind the header is not looked at.
 * @param of whose snapshot it has to be.
 * @throws {BadState} if it is none, or of another stage or run.
 */
export function readSnapshotHeader(
  start: Uint8Array,
  of: { readonly run: string; readonly stage: number; readonly layout: StageLayout },
): SnapshotHeader {
  const end = start.subarray(0, SNAPSHOT_HEADER_BYTES_MAX).indexOf(LINE_END);
  if (end < 0) throw new BadState("Cannot read snapshot: it has no header");
  const { run, stage, manifest, note } = parseHeader(start.subarray(0, end));
  if (run !== of.run || stage !== of.stage) {
    throw new BadState(
      `Cannot read snapshot: it is of stage ${stage} of run ${JSON.stringify(run)}, ` +
        `expected stage ${of.stage} of run ${JSON.stringify(of.run)}`,
    );
  }
  return { manifest, note, length: end + 1 };
}

/** Of a folder's files those that are snapshots by their names. */
export function newestFirst(
  names: readonly string[],
): { readonly name: string; readonly number: number }[] {
  return names
    .flatMap((name) => {
      const match = NAME.exec(name);
      return match && name === nameOf(Number(match[1])) ? [{ name, number: Number(match[1]) }] : [];
    })
    .sort((a, b) => b.number - a.number);
}

function nameOf(number: number): string {
  return `snapshot-${String(number).padStart(9, "0")}.state`;
}

function parseHeader(line: Uint8Array): z.output<typeof headerSchema> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(line));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new BadState("Cannot read snapshot: its header is no JSON", { cause: error });
  }
  const result = headerSchema.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0];
    throw new BadState(`Cannot read snapshot: header field ${path.join(".")}: ${message}`);
  }
  return result.data;
}
