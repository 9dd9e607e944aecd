/**
 * `deno task export`: writes a run's weights as Hugging Face lays them out, from
 * what hosts of this machine keep on their disks, or from hosts that let their
 * states be exported. The optimizer's moments stay behind.
 */

import { type Command, Option } from "commander";
import { assembleExporter } from "../actors/assemble.ts";
import { ExportFailed } from "../actors/exporter.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import { type Manifest, partition } from "../run/mod.ts";
import { BadState, type SafetensorsType } from "../stages/mod.ts";
import { command, execute, Failure, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { type Bar, openBar } from "./bar.ts";
import { listenForInterruption, rejectOnAbort } from "./interruption.ts";
import { startLogging } from "./logging.ts";
import { readManifest } from "./manifest_file.ts";
import { joinRun } from "./member.ts";
import { type JoinOptions, joinOptions } from "./network.ts";
import { paths, required, text, wholeNumber } from "./options.ts";
import { openOwnStates } from "./own_states.ts";
import { WeightFolder } from "./weight_folder.ts";

interface ExportOptions extends JoinOptions {
  readonly out: string;
  readonly dataDir?: readonly string[];
  readonly stage?: number;
  readonly type: (typeof TYPES)[number];
  readonly json?: boolean;
}

const TYPES = ["f32", "bf16", "f16"] as const;

const exportCommand: Command = required(
  joinOptions(
    command({
      name: "export",
      summary:
        "Write a run's weights as Hugging Face lays them out: config.json, *.safetensors, tokenizer.json.\n" +
        "The folder can be imported again, and read by other programs. A state is taken only if a quorum of\n" +
        "its replicas has signed it.",
      examples: [
        {
          does: "the whole model, from hosts of all stages that let it be exported, in half the bytes",
          line: "deno task export --run runs/demo.json --bootstrap /ip4/… --out my-model --type bf16",
        },
        {
          does: "the stage that a host of this machine has on its disk; nobody else is asked",
          line: "deno task export --run runs/demo.json --data-dir .murmuration/host --stage 1 --out my-model",
        },
      ],
    }),
    { listen: "/ip4/0.0.0.0/tcp/0" },
  ),
  new Option("--out <folder>", "where to write; nothing in it is replaced").argParser(text),
)
  .addOption(
    new Option("--data-dir <folder...>", "take it from the snapshots in these data folders of hosts")
      .argParser(paths).conflicts("bootstrap"),
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
  using writing = new Writing(options, manifest);
  if (options.dataDir === undefined) await fetchWeights(options, manifest, stages, writing);
  else await copyWeights(options.dataDir, manifest, stages, writing);
  await writing.finish();
}

function wantedStages({ stage }: ExportOptions, manifest: Manifest): readonly number[] {
  const all = partition(manifest).map(({ index }) => index);
  if (stage === undefined) return all;
  if (all.includes(stage)) return [stage];
  throw new UsageError(
    `Cannot export stage ${stage}: run ${manifest.name} has stages 0 to ${all.length - 1}`,
  );
}

/** From disks of this machine. */
async function copyWeights(
  folders: readonly string[],
  manifest: Manifest,
  stages: readonly number[],
  writing: Writing,
): Promise<void> {
  using states = await openOwnStates(folders, manifest, stages, (file, reason) => {
    PROCESS_OUTPUT.err(`Passing over ${file}: ${reason}\n`);
  });
  const hashes = [...states.snapshots].map(([stage, { manifest }]) => [stage, manifest.stateHash] as const);
  for (const [stage, sink] of await writing.open(states.step, new Map(hashes))) {
    const snapshot = states.snapshots.get(stage)!;
    for (let piece = 0; piece < sink.pieces; piece++) {
      await sink.write(piece, await snapshot.piece(piece).catch(damaged));
    }
  }
}

function damaged(error: unknown): never {
  throw error instanceof BadState ? new Failure(error.message) : error;
}

/** From hosts, wherever they are. */
async function fetchWeights(
  options: ExportOptions,
  manifest: Manifest,
  stages: readonly number[],
  writing: Writing,
): Promise<void> {
  using interruption = listenForInterruption(options);
  const log = await startLogging("export", options);
  await using member = await joinRun({ ...options, manifest, identity: await createIdentity(), log });
  log.info("Looking for hosts that let their states be exported");
  const exporter = assembleExporter(member.parts, {
    stages,
    open: (step, states) => writing.open(step, states),
  });
  const stopped = rejectOnAbort(interruption.signal);
  stopped.catch(() => {});
  try {
    await Promise.race([exporter.done, member.broken, stopped]);
  } catch (error) {
    throw error instanceof ExportFailed ? new Failure(error.message) : error;
  } finally {
    exporter.stop();
  }
}

/** The folder as it is filled, shown as it goes. Disposing of it leaves nothing half-written behind. */
class Writing implements Disposable {
  readonly #options: ExportOptions;
  readonly #manifest: Manifest;
  #folder: WeightFolder | undefined;
  #bar: Bar | undefined;
  #step = 0;

  constructor(options: ExportOptions, manifest: Manifest) {
    this.#options = options;
    this.#manifest = manifest;
  }

  /** States of one step are there, by stage: where their pieces go. */
  async open(step: number, states: ReadonlyMap<number, string>) {
    const { run, out, type } = this.#options;
    const { shards } = this.#folder = await WeightFolder.open({
      run,
      manifest: this.#manifest,
      folder: out,
      type: type.toUpperCase() as SafetensorsType,
      step,
      states,
    });
    this.#step = step;
    const bar = this.#bar = openBar([...shards.values()].reduce((sum, { pieces }) => sum + pieces, 0));
    let done = 0;
    return new Map(
      [...shards].map(([stage, shard]) => [stage, {
        pieces: shard.pieces,
        write: async (piece: number, bytes: Uint8Array) => {
          await shard.write(piece, bytes);
          bar.update(++done, `step ${step}`);
        },
      }]),
    );
  }

  /** Puts everything in its place, and says what was written. */
  async finish(): Promise<void> {
    const folder = this.#folder!;
    const missing = await folder.finish();
    this.#bar?.stop();
    const { out, json } = this.#options;
    const step = this.#step;
    const stages = [...folder.shards.keys()];
    if (json) return PROCESS_OUTPUT.out(`${JSON.stringify({ folder: out, step, stages, missing })}\n`);
    PROCESS_OUTPUT.out(`${out}\n`);
    const what = this.#options.stage === undefined ? "the model" : `stage ${stages[0]}`;
    PROCESS_OUTPUT.err(`Wrote ${what} as it was after step ${step}\n`);
    if (missing.length > 0) PROCESS_OUTPUT.err(`Still to come from others: ${missing.join(", ")}\n`);
  }

  [Symbol.dispose](): void {
    this.#bar?.stop();
    this.#folder?.[Symbol.dispose]();
  }
}

if (import.meta.main) Deno.exit(await execute(exportCommand, Deno.args));
