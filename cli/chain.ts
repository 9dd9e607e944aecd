/**
 * `deno task chain`: a ledger of one's own, without setting anything up: a local
 * chain with the contracts on it, its state on disk. Its money is play money.
 */

import { join } from "node:path";
import { type Command, Option } from "commander";
import { RealClock } from "../actors/core/real_clock.ts";
import { UNITS_PER_TOKEN } from "../contracts/deployment.ts";
import { findAnvil } from "../contracts/local_chain.ts";
import { type LocalLedger, openLocalLedger } from "../contracts/local_ledger.ts";
import type { LedgerConfig } from "../run/mod.ts";
import { command, execute, Exit, EXIT_INTERRUPTED, Failure, PROCESS_OUTPUT } from "./arguments.ts";
import { HOME_DIRECTORY } from "./box.ts";
import { holdDataDirectory } from "./data_directory.ts";
import { aborted, listenForInterruption } from "./interruption.ts";
import { inWords, modelOffer, openAccount, tokens } from "./ledger.ts";
import { startLogging } from "./logging.ts";
import { readManifest } from "./manifest_file.ts";
import { leashOption, type LogLevel, logLevelOption, text, wholeNumber } from "./options.ts";

interface ChainOptions {
  readonly into?: string;
  readonly dataDir: string;
  readonly port: number;
  readonly minStake: bigint;
  readonly emission: bigint;
  readonly pool: bigint;
  readonly logLevel: LogLevel;
  readonly leash?: boolean;
}

/** Where Ethereum's nodes are looked for. */
const USUAL_PORT = 8545;

const chainCommand: Command = command({
  name: "chain",
  summary:
    "Keep a ledger on this machine: a local chain with the contracts, and play money for everybody.\n" +
    "Prints what a manifest says of its ledger, and stays up; what happened is there the next time.",
  examples: [
    { does: "start it, and give a run this ledger", line: "deno task chain --into runs/my-run.json" },
    { does: "start it again, for the runs that have it", line: "deno task chain" },
  ],
})
  .option(
    "--into <manifest>",
    "put this run's model into the registry, and the ledger into its manifest",
    text,
  )
  .addOption(
    new Option("--min-stake <tokens>", "with --into: what a host has to stake").argParser(tokens)
      .default(100n * UNITS_PER_TOKEN, "100"),
  )
  .addOption(
    new Option("--emission <tokens>", "with --into: what an epoch of training brings").argParser(tokens)
      .default(1_000n * UNITS_PER_TOKEN, "1000"),
  )
  .addOption(
    new Option("--pool <tokens>", "with --into: what training brings in all").argParser(tokens)
      .default(1_000_000n * UNITS_PER_TOKEN, "1000000"),
  )
  .option("--port <number>", "port of the chain; 0 takes any free one", wholeNumber(0, 65_535), USUAL_PORT)
  .addOption(
    new Option("--data-dir <folder>", "where the chain keeps its state").argParser(text)
      .default(join(HOME_DIRECTORY, "chain"), ".murmuration/chain"),
  )
  .addOption(logLevelOption())
  .addOption(leashOption())
  .action(chain);

async function chain(options: ChainOptions): Promise<void> {
  using interruption = listenForInterruption(options);
  const program = findAnvil();
  if (program === undefined) {
    throw new Failure("Cannot start a chain: there is no anvil; install Foundry, or name it in ANVIL_BIN");
  }
  if (options.into !== undefined) await readManifest(options.into);
  using data = await holdDataDirectory(options.dataDir);
  const log = await startLogging("chain", options);
  const clock = new RealClock();
  const starting = openLocalLedger({ clock, program, folder: data.path, port: options.port });
  await using ledger = await starting.catch((error) => {
    throw new Failure(error instanceof Error ? error.message : String(error));
  });
  log.info(ledger.found ? "The contracts are there" : "Deployed the contracts", { rpc: ledger.chain.url });
  const place = options.into === undefined
    ? { rpc: ledger.chain.url, ...ledger.deployment }
    : await offerModel(options.into, ledger, options);
  PROCESS_OUTPUT.out(`${JSON.stringify(place)}\n`);
  await Promise.race([aborted(interruption.signal), ledger.chain.ended]);
  if (interruption.signal.aborted) throw new Exit(EXIT_INTERRUPTED);
  throw new Failure("The chain has ended by itself");
}

/**
 * Puts a run's model into a local ledger, and that ledger into its manifest.
 *
 * @returns what the manifest says of its ledger now.
 * @throws {UsageError} if the manifest can't be used.
 */
export async function offerModel(
  path: string,
  { chain: { url: rpc }, deployment, ownerKey: key }: LocalLedger,
  { minStake, emission, pool }: Pick<ChainOptions, "minStake" | "emission" | "pool">,
): Promise<LedgerConfig> {
  const manifest = await readManifest(path);
  try {
    using ledger = await openAccount({ deployment, rpc, model: "" }, { key }, new RealClock());
    const model = await ledger.createModel(modelOffer(manifest, minStake));
    if ((await ledger.emissionOf(model)).poolUnits === 0n) {
      await ledger.mint(pool);
      await ledger.fundTraining(model, pool, emission);
    }
    const place = { ...deployment, rpc, model };
    const raw = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(path, `${JSON.stringify({ ...raw, ledger: place }, null, 2)}\n`);
    // Whoever reads it later reads what this process has checked.
    await readManifest(path);
    return place;
  } catch (error) {
    throw inWords(error);
  }
}

if (import.meta.main) Deno.exit(await execute(chainCommand, Deno.args));
