/** `deno task import`: makes a run of a published model. It copies no weights: the run names their files. */

import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { type Command, Option } from "commander";
import { z } from "zod";
import {
  type Manifest,
  ManifestError,
  manifestHash,
  type NamedFile,
  parseManifest,
  partition,
  publishedEndOfText,
  type PublishedModel,
  publishedModel,
} from "../run/mod.ts";
import { describePublishedState, stageLayout, stateBytes } from "../stages/mod.ts";
import { command, execute, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { openBar } from "./bar.ts";
import { readChatTemplate, readTokenizer } from "./manifest_file.ts";
import { required, text, wholeNumber } from "./options.ts";
import { weightFiles, withWeights } from "./weight_files.ts";

interface ImportOptions {
  readonly model: string;
  readonly stages: number;
  readonly sequenceLength?: number;
  readonly name?: string;
  readonly out: string;
  readonly json?: boolean;
}

/** Longer sequences are taken only where somebody asks for them: they cost memory on every host. */
const SEQUENCE_LENGTH_USUAL = 2048;

const importCommand: Command = required(
  command({
    name: "import",
    summary: "Make a run of a published model: a manifest beside the files that Hugging Face lays out.\n" +
      "Hosts of the run need the same folder, and read of it what their own stage holds.",
    examples: [
      { does: "cut into four stages", line: "deno task import --model models/smol --stages 4" },
      { does: "then hold one of them", line: "deno task host --run models/smol/run.json --bootstrap /ip4/…" },
    ],
  }),
  new Option("--model <folder>", "config.json, tokenizer.json and *.safetensors").argParser(text),
)
  .option("--stages <number>", "stages to cut it into", wholeNumber(1, 1024), 1)
  .option(
    "--sequence-length <number>",
    `tokens in a sequence; without it: what the model was taught, at most ${SEQUENCE_LENGTH_USUAL}`,
    wholeNumber(1),
  )
  .option("--name <text>", "what to call the run; without it: as the folder is called", text)
  .option("--out <file>", "name of the manifest, in the model's folder", "run.json")
  .option("--json", "tell what was made as JSON on standard output")
  .action(importModel);

async function importModel(options: ImportOptions): Promise<void> {
  const { model: folder } = options;
  const published = await read(folder, "config.json", publishedModel);
  const { model } = published;
  const taught = published.sequenceLength;
  if ((options.sequenceLength ?? 0) > taught) {
    PROCESS_OUTPUT.err(
      `Sequences of ${options.sequenceLength} tokens, as asked; the model was taught ${taught}, and may rave beyond\n`,
    );
  }
  const raw = {
    version: 1,
    name: options.name ?? nameOf(folder),
    model,
    stages: options.stages,
    sequenceLength: options.sequenceLength ?? Math.min(taught, SEQUENCE_LENGTH_USUAL),
    sequencesPerMicroBatch: 1,
    microBatchesPerStep: 8,
    steps: 1000,
    optimizer: { learningRate: 1e-5 },
    tokenizer: await tokenizerOf(folder, published),
  };
  const files = await weightNames(folder);
  // Names, cut and tokenizer have to be sound before weights are read: they don't depend on the states.
  const unhashed = Array.from({ length: options.stages }, () => "0".repeat(64));
  const bare = checked({ ...raw, weights: { kind: "safetensors", files, states: unhashed } });
  const path = join(folder, options.out);
  await readTokenizer(path, bare);
  await readChatTemplate(path, bare);
  const states = await statesOf(bare, path, published.tiedHead);
  const whole = { ...raw, weights: { kind: "safetensors", files, states } };
  const manifest = checked(whole);
  await Deno.writeTextFile(path, `${JSON.stringify(whole, null, 2)}\n`);
  tell(options, path, manifest, published.tiedHead);
}

/** The state hashes of all stages. What is read is hashed, and never held whole. */
async function statesOf(manifest: Manifest, run: string, tiedHead: boolean): Promise<readonly string[]> {
  const { vocabulary, width } = manifest.model;
  const layouts = partition(manifest).map((slice) => stageLayout(manifest.model, slice));
  const bar = openBar(layouts.reduce((sum, layout) => sum + stateBytes(layout), 0));
  let done = 0;
  try {
    return await withWeights(weightFiles(run, manifest), async (weights) => {
      await weights.checkHead(tiedHead, [vocabulary, width]);
      const states: string[] = [];
      for (const [index, layout] of layouts.entries()) {
        const { stateHash } = await describePublishedState(layout, weights, (count) => {
          done += count;
          bar.update(done, `${index} of ${layouts.length} stages read`);
        });
        states.push(stateHash);
      }
      return states;
    });
  } finally {
    bar.stop();
  }
}

/** What the manifest says of the tokenizer: files beside it, by their hashes. */
async function tokenizerOf(folder: string, { endOfText }: PublishedModel): Promise<object> {
  const [tokenizer, config, chatTemplate] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"].map((file) => namedFile(folder, file)),
  );
  if (tokenizer === undefined) return missing(folder, "tokenizer.json");
  const generation = await readIfThere(folder, "generation_config.json", publishedEndOfText) ?? [];
  const ends = generation.length > 0 ? generation : endOfText;
  return {
    kind: "huggingface",
    ...tokenizer,
    ...config === undefined ? {} : { config },
    ...chatTemplate === undefined ? {} : { chatTemplate },
    ...ends.length === 0 ? {} : { endOfText: ends },
  };
}

async function namedFile(folder: string, file: string): Promise<NamedFile | undefined> {
  const bytes = await Deno.readFile(join(folder, file)).catch(absent);
  return bytes && { file, sha256: createHash("sha256").update(bytes).digest("hex") };
}

function tell({ json }: ImportOptions, path: string, manifest: Manifest, tiedHead: boolean): void {
  const stages = partition(manifest).map((slice) => ({
    layers: slice.endLayer - slice.firstLayer,
    parameters: stageLayout(manifest.model, slice).size,
  }));
  if (json) {
    const made = { manifest: path, run: manifestHash(manifest), stages };
    return PROCESS_OUTPUT.out(`${JSON.stringify(made)}\n`);
  }
  PROCESS_OUTPUT.out(`${path}\n`);
  for (const [index, { layers, parameters }] of stages.entries()) {
    PROCESS_OUTPUT.err(
      `Stage ${index}: ${layers} of ${manifest.model.layers} layers, ${
        parameters.toLocaleString("en")
      } parameters\n`,
    );
  }
  if (tiedHead) {
    PROCESS_OUTPUT.err(
      "Its head is its embedding. Here each has weights of its own: they begin alike, and part in training\n",
    );
  }
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** The files that hold the weights: those that an index names, or the one file. */
async function weightNames(folder: string): Promise<readonly string[]> {
  return await readIfThere(folder, "model.safetensors.index.json", (json) => {
    const { data } = indexSchema.safeParse(parseJson(json));
    if (data === undefined) {
      throw new TypeError("Cannot read model.safetensors.index.json: it is no index of weights");
    }
    return [...new Set(Object.values(data.weight_map))].sort();
  }) ?? ["model.safetensors"];
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

async function read<Value>(folder: string, file: string, parse: (json: string) => Value): Promise<Value> {
  return await readIfThere(folder, file, parse) ?? missing(folder, file);
}

/** @throws {UsageError} if `parse` finds that it is not what it should be. */
async function readIfThere<Value>(
  folder: string,
  file: string,
  parse: (json: string) => Value,
): Promise<Value | undefined> {
  const text = await Deno.readTextFile(join(folder, file)).catch(absent);
  try {
    return text === undefined ? undefined : parse(text);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(`Cannot import ${folder}: ${error.message}`);
  }
}

function checked(raw: object): Manifest {
  try {
    return parseManifest(JSON.stringify(raw));
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    throw new UsageError(["Cannot make a run of this model:", ...error.problems].join("\n  "));
  }
}

/** A folder's name, as far as a run can bear it. */
function nameOf(folder: string): string {
  const name = basename(folder).replaceAll(/[^\w .-]/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
  return name || "imported";
}

function missing(folder: string, file: string): never {
  throw new UsageError(`Cannot import ${folder}: there is no ${file} in it`);
}

function absent(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) throw error;
}

if (import.meta.main) Deno.exit(await execute(importCommand, Deno.args));
