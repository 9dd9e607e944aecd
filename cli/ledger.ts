/**
 * What commands share that deal with a run's ledger: where it is, whose wallet is
 * used, and amounts as people write them. It moves no money.
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import { formatUnits, parseUnits } from "ethers";
import {
  type ChainLedger,
  type ModelOffer,
  openLedger,
  openLedgerUnchecked,
} from "../contracts/chain_ledger.ts";
import type { LedgerClock } from "../contracts/clock.ts";
import type { Deployment } from "../contracts/deployment.ts";
import { type Journal, memoryJournal } from "../contracts/journal.ts";
import { LedgerError } from "../contracts/ledger.ts";
import { type Manifest, modelHash, partition, stageFlopsPerToken } from "../run/mod.ts";
import { stageWeights } from "../contracts/stage_weights.ts";
import { Failure, UsageError } from "./arguments.ts";
import type { OpenedKey } from "./keystore.ts";
import { text } from "./options.ts";

/** The flags of {@link walletOptions}. */
export interface WalletOptions {
  readonly wallet?: string;
  readonly passwordFile?: string;
}

/** A run's ledger: where the contracts lie, which chain answers, what the model is called. */
export interface LedgerPlace {
  readonly deployment: Deployment;
  readonly model: string;
  readonly rpc: string;
}

/** Decimals of the token. */
const DECIMALS = 18;

/** Adds `--wallet` and `--password-file`. */
export function walletOptions(command: Command): Command {
  return command
    .option("--wallet <file>", "encrypted key of the account that stakes and is paid", text)
    .option(
      "--password-file <file>",
      "file whose first line is the wallet's password; without it: ask",
      text,
    );
}

/** The flags of {@link payingOptions}. */
export interface PayingFlags extends WalletOptions {
  readonly deposit: bigint;
  readonly priceMax: bigint;
  readonly paymentsDir?: string;
}

/** Adds what it takes to pay hosts for texts. */
export function payingOptions(command: Command): Command {
  return walletOptions(command)
    .addOption(
      new Option("--deposit <tokens>", "with --wallet: what is set aside for each host that is paid")
        .argParser(tokens).default(parseUnits("10", DECIMALS), "10"),
    )
    .addOption(
      new Option("--price-max <tokens>", "with --wallet: what a thousand tokens may cost at each host")
        .argParser(tokens).default(parseUnits("1", DECIMALS), "1"),
    )
    .option(
      "--payments-dir <folder>",
      "with --wallet: where what is owed is kept (default: .murmuration/payments/<address>)",
      text,
    );
}

/** An amount of tokens, as units: `1.5`. */
export function tokens(value: string): bigint {
  try {
    const units = /^\d+(\.\d+)?$/.test(value) ? parseUnits(value, DECIMALS) : -1n;
    if (units >= 0n && units < 1n << 128n) return units;
  } catch (error) {
    // More decimals than there are.
    if (!(error instanceof Error)) throw error;
  }
  throw new InvalidArgumentError("It must be an amount of tokens, as 12 or 0.5 is.");
}

/** Units as an amount of tokens, for people: `1.5`. */
export function inTokens(units: bigint): string {
  return formatUnits(units, DECIMALS).replace(/\.0$/, "");
}

/**
 * The ledger of a run; `undefined` if it has none.
 *
 * @throws {UsageError} if nobody says where its chain answers.
 */
export function ledgerOf({ ledger, name }: Manifest, chain: string | undefined): LedgerPlace | undefined {
  if (ledger === "none") return undefined;
  const { model, rpc = chain, ...deployment } = ledger;
  if (rpc === undefined) {
    throw new UsageError(`Cannot reach the ledger of ${name}: its manifest names no address; give --chain`);
  }
  return { model, rpc: chain ?? rpc, deployment };
}

/**
 * Opens a ledger for an account, for as long as a command lasts.
 *
 * @throws {Failure} if the chain does not answer, or is another.
 */
export async function openAccount(
  { deployment, rpc }: LedgerPlace,
  { key }: Pick<OpenedKey, "key">,
  clock: LedgerClock,
): Promise<ChainLedger> {
  try {
    return await openLedger({ chain: rpc, deployment, key, clock, journal: memoryJournal(), pollMs: 20 });
  } catch (error) {
    throw inWords(error);
  }
}

/** A ledger for an account, whether or not its chain is there now. */
export function laterAccount(
  { deployment, rpc }: LedgerPlace,
  { key }: Pick<OpenedKey, "key">,
  clock: LedgerClock,
  journal: Journal,
): ChainLedger {
  return openLedgerUnchecked({ chain: rpc, deployment, key, clock, journal });
}

/** What a ledger has against something is for a person to act on, and no bug. */
export function inWords(error: unknown): unknown {
  return error instanceof LedgerError ? new Failure(error.message) : error;
}

/** A run's model as its owner offers it to hosts. */
export function modelOffer(manifest: Manifest, minStakeUnits: bigint): ModelOffer {
  const weights = stageWeights(partition(manifest).map((slice) => stageFlopsPerToken(manifest, slice)));
  const { ceiling: maxReplicas } = manifest.replicas;
  return {
    manifestHash: `0x${modelHash(manifest)}`,
    stages: weights.map((weightBps) => ({ weightBps, maxReplicas, minStakeUnits })),
  };
}
