/**
 * The folder that weights are exported to, as Hugging Face lays it out: one file
 * of weights a stage, written piece by piece, and what belongs beside them. A
 * file appears under its name when all of it is on the disk, and `config.json`
 * last. It replaces nothing: of one run at one step, stages may come one by one.
 */

import { dirname, join } from "node:path";
import { byteTokenizerFile, type Manifest, manifestHash, partition, publishedConfig } from "../run/mod.ts";
import { type SafetensorsType, stageLayout, WeightFile } from "../stages/mod.ts";
import { Failure, UsageError } from "./arguments.ts";
import { readTokenizer } from "./manifest_file.ts";

/** What is exported, and whereto. */
export interface WeightFolderOptions {
  /** Path of the manifest. */
  readonly run: string;
  readonly manifest: Manifest;
  readonly folder: string;
  readonly type: SafetensorsType;
  /** Optimizer steps that the states have taken. */
  readonly step: number;
  /** State hashes of the stages to be written, by stage. */
  readonly states: ReadonlyMap<number, string>;
}

const CONFIG = "config.json";
const INDEX = "model.safetensors.index.json";
/** What a file is called that is not whole yet. */
const UNFINISHED = ".writing";

/** A folder that is being written. Disposing of it before {@link finish} leaves no file of weights behind. */
export class WeightFolder implements Disposable {
  /** One for each stage, by stage. */
  readonly shards: ReadonlyMap<number, Shard>;
  readonly #folder: string;
  readonly #companions: ReadonlyMap<string, string | Uint8Array>;

  private constructor(
    folder: string,
    shards: ReadonlyMap<number, Shard>,
    companions: ReadonlyMap<string, string | Uint8Array>,
  ) {
    this.#folder = folder;
    this.shards = shards;
    this.#companions = companions;
  }

  /**
   * Makes the folder if it is not there, and the files, as long as they will be.
   *
   * @throws {UsageError} if the folder holds what is to be written already, or something else in its place,
   *   or no published family has such a model.
   */
  static async open(options: WeightFolderOptions): Promise<WeightFolder> {
    const { folder, manifest, type, step, states } = options;
    const run = manifestHash(manifest);
    const slices = partition(manifest);
    const companions = await companionsOf(options, run);
    for (const [name, content] of companions) await refuseOther(folder, name, content);
    await Deno.mkdir(folder, { recursive: true });
    const shards = new Map<number, Shard>();
    try {
      for (const [stage, stateHash] of states) {
        const name = shardName(stage, slices.length);
        const file = new WeightFile(`stage ${stage}`, stageLayout(manifest.model, slices[stage]), type, {
          run,
          stage: String(stage),
          step: String(step),
          state: stateHash,
        });
        shards.set(stage, await Shard.create(join(folder, name), file));
      }
    } catch (error) {
      for (const shard of shards.values()) shard[Symbol.dispose]();
      throw error;
    }
    return new WeightFolder(folder, shards, companions);
  }

  /**
   * Puts everything in its place.
   *
   * @returns files of weights that the index names and that are not there.
   * @throws {Error} if a piece of a stage has not been written.
   */
  async finish(): Promise<readonly string[]> {
    for (const shard of this.shards.values()) await shard.finish();
    for (const [name, content] of this.#companions) {
      const path = join(this.#folder, name);
      await Deno.writeFile(path + UNFINISHED, bytesOf(content));
      await Deno.rename(path + UNFINISHED, path);
    }
    const index = this.#companions.get(INDEX);
    if (typeof index !== "string") return [];
    const named = new Set<string>(Object.values(JSON.parse(index).weight_map));
    const there = (await Array.fromAsync(Deno.readDir(this.#folder))).map(({ name }) => name);
    return [...named.difference(new Set(there))].sort();
  }

  [Symbol.dispose](): void {
    for (const shard of this.shards.values()) shard[Symbol.dispose]();
  }
}

/** A file of one stage's weights. */
export class Shard implements Disposable {
  readonly #path: string;
  readonly #weights: WeightFile;
  readonly #missing: Set<number>;
  #file: Deno.FsFile | undefined;

  private constructor(path: string, weights: WeightFile, file: Deno.FsFile) {
    this.#path = path;
    this.#weights = weights;
    this.#file = file;
    this.#missing = new Set(Array(weights.pieces).keys());
  }

  /** @throws {UsageError} if there is such a file. */
  static async create(path: string, weights: WeightFile): Promise<Shard> {
    if (await Deno.stat(path).catch(absent) !== undefined) {
      throw new UsageError(`Cannot export: ${path} is there already`);
    }
    const file = await Deno.open(path + UNFINISHED, { write: true, create: true, truncate: true });
    const shard = new Shard(path, weights, file);
    try {
      await file.truncate(weights.bytes);
      await shard.#write(0, weights.header);
    } catch (error) {
      shard[Symbol.dispose]();
      throw error;
    }
    return shard;
  }

  /** Pieces of the state that it takes: those from 0 up to, but not with, this. */
  get pieces(): number {
    return this.#weights.pieces;
  }

  /**
   * Writes what one piece of the state becomes; one at a time.
   *
   * @throws {Failure} if the type can't hold it.
   */
  async write(piece: number, bytes: Uint8Array): Promise<void> {
    const placed = this.#place(piece, bytes);
    await this.#write(placed.at, placed.bytes);
    this.#missing.delete(piece);
  }

  /** @throws {Error} if a piece has not been written. */
  async finish(): Promise<void> {
    if (this.#missing.size > 0) {
      throw new Error(
        `Cannot finish ${this.#path}: ${this.#missing.size} of ${this.pieces} pieces are missing`,
      );
    }
    await this.#file!.sync();
    this.#close();
    await Deno.rename(this.#path + UNFINISHED, this.#path);
  }

  /** What is not whole goes. */
  [Symbol.dispose](): void {
    if (this.#close()) Deno.removeSync(this.#path + UNFINISHED);
  }

  #place(piece: number, bytes: Uint8Array): ReturnType<WeightFile["place"]> {
    try {
      return this.#weights.place(piece, bytes);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new Failure(`${error.message}; another --type holds it`);
    }
  }

  async #write(at: number, bytes: Uint8Array): Promise<void> {
    const file = this.#file!;
    await file.seek(at, Deno.SeekMode.Start);
    for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await file.write(rest));
  }

  #close(): boolean {
    const file = this.#file;
    this.#file = undefined;
    file?.close();
    return file !== undefined;
  }
}

function shardName(stage: number, stages: number): string {
  if (stages === 1) return "model.safetensors";
  const five = (number: number) => String(number).padStart(5, "0");
  return `model-${five(stage + 1)}-of-${five(stages)}.safetensors`;
}

/** All that lies beside the weights, `config.json` last: where it is, the rest is. */
async function companionsOf(
  { run: path, manifest, type, step }: WeightFolderOptions,
  run: string,
): Promise<ReadonlyMap<string, string | Uint8Array>> {
  const { tokenizer, model } = manifest;
  const { endOfText = [] } = await readTokenizer(path, manifest);
  const companions = new Map<string, string | Uint8Array>();
  if (tokenizer.kind === "bytes") companions.set("tokenizer.json", byteTokenizerFile());
  else {
    const files = {
      "tokenizer.json": tokenizer.file,
      "tokenizer_config.json": tokenizer.config?.file,
      "chat_template.jinja": tokenizer.chatTemplate?.file,
    };
    for (const [name, file] of Object.entries(files)) {
      if (file !== undefined) companions.set(name, await Deno.readFile(join(dirname(path), file)));
    }
  }
  const slices = partition(manifest);
  if (slices.length > 1) {
    const layouts = slices.map((slice) => stageLayout(model, slice));
    const metadata = {
      total_size: layouts.reduce((sum, layout) => sum + layout.size, 0) * (type === "F32" ? 4 : 2),
    };
    const weight_map = Object.fromEntries(
      layouts.flatMap(({ parameters }, stage) =>
        parameters.map(({ name }) => [name, shardName(stage, slices.length)])
      ),
    );
    companions.set(INDEX, `${JSON.stringify({ metadata, weight_map }, null, 2)}\n`);
  }
  const original = await Deno.readTextFile(join(dirname(path), CONFIG)).catch(absent);
  try {
    companions.set(CONFIG, publishedConfig(manifest, { type, endOfText, run, step }, original));
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(error.message) : error;
  }
  return companions;
}

/** What is there has to be what would be written. */
async function refuseOther(folder: string, name: string, content: string | Uint8Array): Promise<void> {
  const path = join(folder, name);
  const found = await Deno.readFile(path).catch(absent);
  const wanted = bytesOf(content);
  if (found === undefined || found.length === wanted.length && found.every((byte, i) => byte === wanted[i])) {
    return;
  }
  throw new UsageError(`Cannot export: ${path} is there already, and of something else`);
}

function bytesOf(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? new TextEncoder().encode(content) : content;
}

function absent(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
