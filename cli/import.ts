/** `deno task import`: makes a run of a published model. It copies no weights: the run names their files. */

import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { type Command, Option } from "commander";
import { z } from "zod";
import {
  type Manifest,
  ManifestError,
  manifestHash,
  parseManifest,
  partition,
  publishedModel,
} from "../run/mod.ts";
import { publishedState, stageLayout } from "../stages/mod.ts";
import { command, execute, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { required, text, wholeNumber } from "./options.ts";
import { withWeights } from "./weight_files.ts";

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

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

async function importModel(options: ImportOptions): Promise<void> {
  const { model: folder } = options;
  const { model, sequenceLength } = readModel(await readText(folder, "config.json"));
  const tokenizer = await Deno.readFile(join(folder, "tokenizer.json")).catch(
    missing(folder, "tokenizer.json"),
  );
  const files = await filesOf(folder);
  const raw = {
    version: 1,
    name: options.name ?? nameOf(folder),
    model,
    stages: options.stages,
    sequenceLength: options.sequenceLength ?? Math.min(sequenceLength, SEQUENCE_LENGTH_USUAL),
    sequencesPerMicroBatch: 1,
    microBatchesPerStep: 8,
    steps: 1000,
    optimizer: { learningRate: 1e-5 },
    tokenizer: {
      kind: "huggingface",
      file: "tokenizer.json",
      sha256: createHash("sha256").update(tokenizer).digest("hex"),
    },
  };
  // The cut has to be known before the states can be: it does not depend on them.
  const states: string[] = [];
  const bare = checked(raw);
  await withWeights(files.map((file) => join(folder, file)), async (weights) => {
    for (const slice of partition(bare)) {
      PROCESS_OUTPUT.err(`Reading stage ${slice.index} of ${slice.count}\n`);
      const { manifest } = await publishedState(stageLayout(bare.model, slice), weights);
      states.push(manifest.stateHash);
    }
  });
  const whole = { ...raw, weights: { kind: "safetensors", files, states } };
  const manifest = checked(whole);
  const path = join(folder, options.out);
  await Deno.writeTextFile(path, `${JSON.stringify(whole, null, 2)}\n`);
  tell(options, path, manifest);
}

function tell({ json }: ImportOptions, path: string, manifest: Manifest): void {
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
}

/** The files that hold the weights: those that an index names, or the one file. */
async function filesOf(folder: string): Promise<readonly string[]> {
  const index = join(folder, "model.safetensors.index.json");
  let json: string;
  try {
    json = await Deno.readTextFile(index);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return ["model.safetensors"];
  }
  try {
    return [...new Set(Object.values(indexSchema.parse(JSON.parse(json)).weight_map))].sort();
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof z.ZodError)) throw error;
    throw new UsageError(`Cannot import ${index}: it is no index of weights`);
  }
}

function readModel(json: string): ReturnType<typeof publishedModel> {
  try {
    return publishedModel(json);
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(error.message) : error;
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

async function readText(folder: string, file: string): Promise<string> {
  return await Deno.readTextFile(join(folder, file)).catch(missing(folder, file));
}

function missing(folder: string, file: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`Cannot import ${folder}: there is no ${file} in it`);
  };
}

if (import.meta.main) Deno.exit(await execute(importCommand, Deno.args));
