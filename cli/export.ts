/**
 * `deno task export`: writes a run's weights as Hugging Face lays them out, from
 * what hosts have on their disks. The optimizer's moments stay behind.
 */

import { type Command, Option } from "commander";
import { type Manifest, partition } from "../run/mod.ts";
import { BadState, type SafetensorsType } from "../stages/mod.ts";
import { command, execute, Failure, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { openBar } from "./bar.ts";
import { readManifest } from "./manifest_file.ts";
import { paths, required, runOption, text, wholeNumber } from "./options.ts";
import { openOwnStates } from "./own_states.ts";
import { WeightFolder } from "./weight_folder.ts";

interface ExportOptions {
  readonly run: string;
  readonly out: string;
  readonly dataDir: readonly string[];
  readonly stage?: number;
  readonly type: (typeof TYPES)[number];
  readonly json?: boolean;
}

const TYPES = ["f32", "bf16", "f16"] as const;

const exportCommand: Command = required(
  required(
    required(
      command({
        name: "export",
        summary:
          "Write a run's weights as Hugging Face lays them out: config.json, *.safetensors, tokenizer.json.\n" +
          "The folder can be imported again, and read by other programs.",
        examples: [
          {
            does: "the stage that the host of this machine holds, while it works",
            line:
              "deno task export --run runs/demo.json --data-dir .murmuration/host --stage 1 --out my-model",
          },
          {
            does: "the whole model, from the folders of hosts that hold all of it, in half the bytes",
            line:
              "deno task export --run runs/demo.json --data-dir .murmuration/host .murmuration/second \\\n" +
              "      --out my-model --type bf16",
          },
        ],
      }),
      runOption(),
    ),
    new Option("--out <folder>", "where to write; nothing in it is replaced").argParser(text),
  ),
  new Option("--data-dir <folder...>", "data folders of hosts, with their snapshots").argParser(paths),
)
  .option("--stage <number>", "stage to write, from 0; without it: all of them", wholeNumber(0))
  .addOption(
    new Option("--type <type>", "of the numbers; what is narrower than f32 is rounded to the nearest")
      .choices(TYPES).default("f32"),
  )
  .option("--json", "tell what was written as JSON on standard output")
  .action(exportWeights);

async function exportWeights(options: ExportOptions): Promise<void> {
  const manifest = await readManifest(options.run);
  const stages = wantedStages(options, manifest);
  using states = await openOwnStates(options.dataDir, manifest, stages, (file, reason) => {
    PROCESS_OUTPUT.err(`Passing over ${file}: ${reason}\n`);
  });
  using folder = await WeightFolder.open({
    run: options.run,
    manifest,
    folder: options.out,
    type: options.type.toUpperCase() as SafetensorsType,
    step: states.step,
    states: new Map([...states.snapshots].map(([stage, { manifest }]) => [stage, manifest.stateHash])),
  });
  const bar = openBar([...folder.shards.values()].reduce((sum, { pieces }) => sum + pieces, 0));
  try {
    let done = 0;
    for (const [stage, shard] of folder.shards) {
      const snapshot = states.snapshots.get(stage)!;
      for (let piece = 0; piece < shard.pieces; piece++) {
        await shard.write(piece, await snapshot.piece(piece).catch(damaged));
        bar.update(++done, `stage ${stage} of ${partition(manifest).length}`);
      }
    }
  } finally {
    bar.stop();
  }
  tell(options, states.step, stages, await folder.finish());
}

function damaged(error: unknown): never {
  throw error instanceof BadState ? new Failure(error.message) : error;
}

function wantedStages({ stage }: ExportOptions, manifest: Manifest): readonly number[] {
  const all = partition(manifest).map(({ index }) => index);
  if (stage === undefined) return all;
  if (all.includes(stage)) return [stage];
  throw new UsageError(
    `Cannot export stage ${stage}: run ${manifest.name} has stages 0 to ${all.length - 1}`,
  );
}

function tell(
  { out, json }: ExportOptions,
  step: number,
  stages: readonly number[],
  missing: readonly string[],
) {
  if (json) return PROCESS_OUTPUT.out(`${JSON.stringify({ folder: out, step, stages, missing })}\n`);
  PROCESS_OUTPUT.out(`${out}\n`);
  PROCESS_OUTPUT.err(
    `Wrote ${stages.length === 1 ? `stage ${stages[0]}` : "the model"} after step ${step}\n`,
  );
  if (missing.length > 0) PROCESS_OUTPUT.err(`Still to come from others: ${missing.join(", ")}\n`);
}

if (import.meta.main) Deno.exit(await execute(exportCommand, Deno.args));
