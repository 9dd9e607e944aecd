/**
 * The files of published weights that a run begins with, beside its manifest.
 * Of them a host reads what its own stage holds, and believes it only if the
 * manifest names what comes out.
 */

import { dirname, join } from "node:path";
import { type Manifest, sliceOf } from "../run/mod.ts";
import { type ByteSource, publishedState, PublishedWeights, type Stage, stageLayout } from "../stages/mod.ts";
import { Failure } from "./arguments.ts";

/** Paths of the files that the manifest at `run` names; none where a run begins with random weights. */
export function weightFiles(run: string, { weights }: Pick<Manifest, "weights">): readonly string[] {
  return weights.kind === "random" ? [] : weights.files.map((file) => join(dirname(run), file));
}

/**
 * Of the files that the manifest at `run` names, those that are here. The others are not missed: what a
 * stage holds of them comes from other hosts.
 */
export async function weightFilesHere(run: string, manifest: Manifest): Promise<readonly string[]> {
  const here: string[] = [];
  for (const path of weightFiles(run, manifest)) {
    // In its box a host may read those alone that were here when it started.
    const isHere = await Deno.stat(path).then(({ isFile }) => isFile, (error) => {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return false;
      throw error;
    });
    if (isHere) here.push(path);
  }
  return here;
}

/** A file of which any part can be read. Its owner closes it. */
export class FileSource implements ByteSource, Disposable {
  readonly name: string;
  readonly bytes: number;
  readonly #file: Deno.FsFile;

  private constructor(name: string, file: Deno.FsFile, bytes: number) {
    this.name = name;
    this.#file = file;
    this.bytes = bytes;
  }

  /** @throws {Failure} if it is not there, or no file. */
  static async open(path: string): Promise<FileSource> {
    try {
      const file = await Deno.open(path);
      const { size, isFile } = await file.stat();
      if (isFile) return new FileSource(path, file, size);
      file.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      throw new Failure(`Cannot read weights ${path}: there is no such file`);
    }
    throw new Failure(`Cannot read weights ${path}: it is not a file`);
  }

  /** @throws {Failure} if the file has become shorter. */
  async read(begin: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - begin);
    await this.#file.seek(begin, Deno.SeekMode.Start);
    for (let filled = 0; filled < bytes.length;) {
      const count = await this.#file.read(bytes.subarray(filled));
      if (count === null) {
        throw new Failure(`Cannot read weights ${this.name}: the file ends before byte ${end}`);
      }
      filled += count;
    }
    return bytes;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/**
 * Opens files of weights for as long as something is done with them.
 *
 * @throws {Failure} if one is missing, or not to be believed.
 */
export async function withWeights<Result>(
  paths: readonly string[],
  use: (weights: PublishedWeights) => Promise<Result>,
): Promise<Result> {
  using files = new DisposableStack();
  try {
    const sources: FileSource[] = [];
    for (const path of paths) sources.push(files.use(await FileSource.open(path)));
    return await use(await PublishedWeights.open(sources));
  } catch (error) {
    throw error instanceof TypeError ? new Failure(error.message) : error;
  }
}

/**
 * Puts a stage that was just opened at the beginning of its run, as far as files are here. Whether that is
 * where it stands then is for its host to see, as the manifest names the state.
 *
 * @param run path of the manifest.
 * @returns the stage; where its weights are here and not those that the manifest means it is closed.
 * @throws {Failure} if they are not those, or not to be believed.
 */
export async function beginWithWeights(stage: Stage, run: string, manifest: Manifest): Promise<Stage> {
  const { weights } = manifest;
  if (weights.kind === "random") return stage;
  try {
    const layout = stageLayout(manifest.model, sliceOf(manifest, stage.index));
    const files = await weightFilesHere(run, manifest);
    const lacksFiles = files.length < weights.files.length;
    const state = await withWeights(files, async (published) => {
      if (lacksFiles && !layout.parameters.every((it) => published.has(it))) return undefined;
      return await publishedState(layout, published);
    });
    if (state === undefined) return stage;
    const expected = weights.states[stage.index];
    if (state.manifest.stateHash !== expected) {
      // A head that is not here was taken for one that is tied.
      if (lacksFiles) return stage;
      throw new Failure(
        `Cannot begin stage ${stage.index}: its weights have state hash ${state.manifest.stateHash}, ` +
          `the manifest names ${expected}`,
      );
    }
    await stage.importState(state.manifest, state.bytes);
    return stage;
  } catch (error) {
    await stage.close();
    throw error;
  }
}
