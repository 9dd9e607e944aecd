/**
 * `deno task host`: holds a stage of a run. This process only reads the flags
 * and leads the one that does the work, which lives in a box (see `box.ts`).
 */

import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { RealClock } from "../actors/core/real_clock.ts";
import { partition } from "../run/mod.ts";
import { CACHE_BYTES } from "../stages/mod.ts";
import { command, execute, Exit, UsageError } from "./arguments.ts";
import { HOME_DIRECTORY, refuseCode } from "./box.ts";
import { holdDataDirectory } from "./data_directory.ts";
import { settleDevices } from "./device.ts";
import { hostBox, type HostOptions } from "./host_box.ts";
import { launch } from "./launch.ts";
import { tokens, walletOptions } from "./ledger.ts";
import { startLogging } from "./logging.ts";
import { readManifest } from "./manifest_file.ts";
import { joinOptions, readSwarmKey } from "./network.ts";
import { deviceOption, text, wholeNumber } from "./options.ts";
import { takePlace } from "./take_place.ts";
import { weightFilesHere } from "./weight_files.ts";

/** Cores of the largest machines of today, doubled; more is a slip of the finger. */
const THREADS_MAX = 1024;
/** A terabyte: likewise. */
const CACHE_MB_MAX = 2 ** 20;

/** Where hosts keep their data, unless told otherwise. */
const DATA_DIRECTORY = join(HOME_DIRECTORY, "host");

const hostCommand: Command = joinOptions(
  command({
    name: "host",
    summary: "Hold one stage of a run's model: compute for whoever trains it or reads from it.\n" +
      "The work is done in a process that reaches the network and its own data folder, nothing else.",
    examples: [
      {
        does: "serve whichever stage needs it most",
        line: "deno task host --run runs/demo.json --bootstrap /ip4/…",
      },
      {
        does: "serve stage 1 on four threads, and be reached at a fixed port",
        line: "deno task host --run runs/demo.json --bootstrap /ip4/… \\\n" +
          "      --stage 1 --threads 4 --listen /ip4/0.0.0.0/tcp/4002",
      },
      {
        does: "compute on a GPU, whatever its make; deno task devices says what there is",
        line: "deno task host --run runs/demo.json --bootstrap /ip4/… --device webgpu",
      },
      {
        does: "behind a router that forwards port 4002 to this machine",
        line: "deno task host --run runs/demo.json --bootstrap /ip4/… \\\n" +
          "      --listen /ip4/0.0.0.0/tcp/4002 --announce /ip4/203.0.113.7/tcp/4002",
      },
      {
        does: "behind a router that forwards nothing: be reached through a bootstrap node",
        line: "deno task host --run runs/demo.json --bootstrap /ip4/… --relay /ip4/…",
      },
      {
        does: "in a run that has a ledger: stake, take the place that the registry draws, and serve",
        line: "deno task host --run runs/my-run.json --bootstrap /ip4/… --wallet wallet.json --stake 100",
      },
      {
        does: "a second host on the same machine needs a data folder of its own",
        line: "deno task host --run runs/demo.json --bootstrap /ip4/… --data-dir .murmuration/second",
      },
    ],
  }),
  { listen: "/ip4/0.0.0.0/tcp/0" },
)
  .option(
    "--stage <number>",
    "stage to serve, from 0; without it: the one that needs it most",
    wholeNumber(0),
  )
  .addOption(
    new Option("--data-dir <folder>", "where this host keeps its key and its snapshots")
      .argParser(text).default(DATA_DIRECTORY, ".murmuration/host"),
  )
  .option(
    "--threads <number>",
    "threads to compute on; without it: as the device sees fit",
    wholeNumber(1, THREADS_MAX),
  )
  .option(
    "--cache-mb <number>",
    "megabytes that the texts being continued may take, on the device; taken as they come",
    wholeNumber(1, CACHE_MB_MAX),
    CACHE_BYTES / 2 ** 20,
  )
  .addOption(deviceOption())
  .option("--no-export", "give the stage's state to those alone who come to hold it, as far as they say so")
  .option("--json", "tell what happens as JSON lines on standard output")
  .addOption(
    new Option("--stake <tokens>", "where the run has a ledger: take a place, and stake so much for it")
      .argParser(tokens),
  )
  .addOption(
    new Option(
      "--price <tokens>",
      "where the run has a ledger: what a thousand tokens of text cost, of a prompt as of an answer",
    )
      .argParser(tokens),
  )
  .action(host);

walletOptions(hostCommand);

async function host(options: HostOptions): Promise<void> {
  const manifest = await readManifest(options.run);
  const stages = partition(manifest).length;
  if (options.stage !== undefined && options.stage >= stages) {
    throw new UsageError(
      `Cannot serve stage ${options.stage}: run ${manifest.name} has stages 0 to ${stages - 1}`,
    );
  }
  if (options.swarmKey !== undefined) await readSwarmKey(options.swarmKey);
  // Before anything is made there; the box looks again, behind links.
  refuseCode(resolve(options.dataDir));
  using data = await holdDataDirectory(options.dataDir);
  const log = await startLogging("host", options);
  const tell = (words: string) => log.info(words);
  const stage = await takePlace({ options, manifest, dataDir: data.path, clock: new RealClock(), tell });
  const devices = await settleDevices({ ...options, ...stage, manifest, folder: data.path, tell });
  const files = await weightFilesHere(options.run, manifest);
  // What opens the wallet stays outside of the box.
  const { stake: _stake, wallet: _wallet, passwordFile: _passwordFile, price, ...boxed } = options;
  const priceUnits = price === undefined ? {} : { priceUnits: `${price / 1_000n}` };
  const code = await launch(
    hostBox({ ...boxed, ...stage, ...priceUnits, devices, dataDir: data.path }, files),
    options,
  );
  if (code !== 0) throw new Exit(code);
}

if (import.meta.main) Deno.exit(await execute(hostCommand, Deno.args));
