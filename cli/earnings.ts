/**
 * `deno task earnings`: what an account's shards have earned, by day, in training
 * and in inference, and what of it can be taken out; takes it out with one flag.
 */

import { join } from "node:path";
import { type Command, Option } from "commander";
import { RealClock } from "../actors/core/real_clock.ts";
import type { ChainLedger } from "../contracts/chain_ledger.ts";
import { type NamedDocument, readEpoch, treeOf } from "../contracts/epoch.ts";
import { epochFolder } from "../contracts/epoch_store.ts";
import type { Earnings, EarningsRow } from "../contracts/ledger.ts";
import { memoryJournal } from "../contracts/journal.ts";
import { VoucherBook } from "../contracts/voucher_book.ts";
import type { RewardProof } from "../contracts/reward_tree.ts";
import { command, execute, Failure, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { openWallet, VOUCHERS_FILE } from "./accounts.ts";
import { HOME_DIRECTORY } from "./box.ts";
import { addressIn, createKey } from "./keystore.ts";
import {
  inTokens,
  inWords,
  ledgerOf,
  type LedgerPlace,
  openAccount,
  type WalletOptions,
  walletOptions,
} from "./ledger.ts";
import { readManifest } from "./manifest_file.ts";
import { paths, required, runOption, text } from "./options.ts";

interface EarningsOptions extends WalletOptions {
  readonly run: string;
  readonly chain?: string;
  readonly account?: string;
  readonly epochs: readonly string[];
  readonly vouchers: readonly string[];
  readonly withdraw?: boolean;
  readonly json?: boolean;
}

/** What an account can have, as far as is known here. */
export interface Account {
  readonly earned: Earnings;
  /** Rewards that a final epoch proves and nobody has claimed. */
  readonly redeemable: readonly RewardProof[];
  readonly redeemableUnits: bigint;
  /** Rewards of an epoch that is proposed and not final yet. */
  readonly pendingUnits: bigint;
}

const ADDRESS = /^0x[0-9a-fA-F]{40}$/;

const earningsCommand: Command = walletOptions(
  required(
    command({
      name: "earnings",
      summary: "What your shards have earned, in training and in inference, and what of it you can take out.",
      examples: [
        { does: "look", line: "deno task earnings --run runs/my-run.json --wallet wallet.json" },
        {
          does: "take it out",
          line: "deno task earnings --run runs/my-run.json --wallet wallet.json --withdraw",
        },
        {
          does: "of any account, for a program",
          line: "deno task earnings --run runs/my-run.json --account 0x… --json",
        },
      ],
    }),
    runOption(),
  ),
)
  .option("--account <address>", "whose, if not the wallet's", text)
  .option("--chain <url>", "where the ledger's chain answers; without it: as the manifest says", text)
  .addOption(
    new Option(
      "--epochs <folder...>",
      "where documents of epochs lie: a host's or a trainer's folder has them in epochs/",
    ).argParser(paths).default([], ".murmuration/host/epochs, .murmuration/runs/<name>/epochs"),
  )
  .option(
    "--withdraw",
    "claim, redeem and withdraw all there is; it goes to the account, whoever pays the gas",
  )
  .option("--json", "as JSON")
  .action(earnings);

async function earnings(options: EarningsOptions): Promise<void> {
  const manifest = await readManifest(options.run);
  const at = ledgerOf(manifest, options.chain);
  if (at === undefined) throw new UsageError(`Cannot show earnings: ${manifest.name} has no ledger`);
  const account = await accountOf(options);
  const folders = options.epochs.length > 0
    ? options.epochs
    : [join(HOME_DIRECTORY, "host", "epochs"), join(HOME_DIRECTORY, "runs", manifest.name, "epochs")];
  const vouchers = options.vouchers.length > 0
    ? options.vouchers
    : [join(HOME_DIRECTORY, "host", VOUCHERS_FILE)];
  try {
    // To look takes no key of one's own.
    const wallet = options.withdraw ? await openWallet(options) : createKey();
    if (wallet === undefined) {
      throw new UsageError("Cannot withdraw: name the wallet that pays the gas, with --wallet");
    }
    using ledger = await openAccount(at, wallet, new RealClock());
    if (options.withdraw) {
      await redeemVouchers(ledger, at, account, vouchers);
      await withdrawAll(ledger, at, account, folders);
    }
    const state = await readAccount(ledger, at, account, folders);
    PROCESS_OUTPUT.out(options.json ? `${jsonOf(account, state)}\n` : tableOf(account, state));
  } catch (error) {
    throw inWords(error);
  }
}

async function accountOf({ account, wallet }: EarningsOptions): Promise<string> {
  if (account !== undefined) {
    if (ADDRESS.test(account)) return account.toLowerCase();
    throw new UsageError(`Cannot show earnings of ${account}: it is no address`);
  }
  if (wallet !== undefined) return await addressIn(wallet);
  throw new UsageError("Cannot show earnings: name a --wallet or an --account");
}

/** What an account has earned, and what of it can be had. */
export async function readAccount(
  ledger: ChainLedger,
  { model }: Pick<LedgerPlace, "model">,
  account: string,
  folders: readonly string[],
): Promise<Account> {
  const [earned, { finalEpoch, proposedRoot }] = await Promise.all([
    ledger.earnings(account),
    ledger.epochOf(model),
  ]);
  const final = await documentOf(ledger, model, finalEpoch, folders);
  const proposed = proposedRoot === undefined
    ? undefined
    : await documentOf(ledger, model, finalEpoch + 1, folders);
  const redeemable: RewardProof[] = [];
  let redeemableUnits = 0n;
  for (const { stage } of final === undefined ? [] : own(final, account)) {
    const proof = treeOf(final!)!.proofOf(model, stage, account, finalEpoch)!;
    const claimed = await ledger.claimedOf(model, stage, account);
    redeemable.push(proof);
    redeemableUnits += proof.cumulativeRewardUnits - claimed;
  }
  const total = (document: NamedDocument | undefined) =>
    document === undefined ? 0n : own(document, account).reduce((sum, it) => sum + it.rewardUnits, 0n);
  const pendingUnits = proposed === undefined ? 0n : total(proposed) - total(final);
  return { earned, redeemable, redeemableUnits, pendingUnits };
}

/**
 * Makes what is due final, claims, and withdraws; all of it may be repeated.
 *
 * @throws {LedgerError} if the chain refuses, or does not answer.
 */
export async function withdrawAll(
  ledger: ChainLedger,
  at: Pick<LedgerPlace, "model">,
  account: string,
  folders: readonly string[],
): Promise<void> {
  const { model } = at;
  const { proposedRoot, challenged, finalSeconds } = await ledger.epochOf(model);
  const nowSeconds = new RealClock().epochMs() / 1000;
  if (proposedRoot !== undefined && !challenged && finalSeconds < nowSeconds) {
    await ledger.finalizeEpoch(model);
  }
  const { redeemable, earned } = await readAccount(ledger, at, account, folders);
  for (const proof of redeemable) {
    await ledger.claim(proof);
    await ledger.syncCredit(proof);
  }
  await ledger.withdrawServed(account);
  const shards = new Set([
    ...earned.royalties.filter((it) => it.model === model).map(({ stage }) => stage),
    ...redeemable.map(({ stage }) => stage),
  ]);
  for (const stage of shards) await ledger.withdrawRoyalty(model, stage, account);
}

function own(
  { document }: NamedDocument,
  account: string,
): readonly { stage: number; rewardUnits: bigint }[] {
  return document.balances.filter((it) => it.account === account);
}

/**
 * Redeems what a host's vouchers, in files of its data folder, still bring. The host may be running, or gone.
 *
 * @throws {LedgerError} if the chain refuses, or does not answer.
 */
export async function redeemVouchers(
  ledger: ChainLedger,
  { deployment }: Pick<LedgerPlace, "deployment">,
  account: string,
  files: readonly string[],
): Promise<void> {
  const clock = new RealClock();
  for (const file of files) {
    // What is redeemed is for the host to strike out: it has the file.
    const journal = memoryJournal(await Deno.readTextFile(file).catch(absent));
    const book = await VoucherBook.open({
      deployment,
      host: account,
      journal,
      epochMs: () => clock.epochMs(),
    });
    for (const batch of book.due(1n)) await ledger.redeemMany(batch);
  }
}

function absent(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** What the ledger says an epoch's document is called, from one of the folders. */
async function documentOf(
  ledger: ChainLedger,
  model: string,
  epoch: number,
  folders: readonly string[],
): Promise<NamedDocument | undefined> {
  if (epoch === 0) return undefined;
  const { leavesHash = "" } = await ledger.proposalOf(model, epoch) ?? {};
  for (const folder of folders) {
    const text = await epochFolder(folder).get(leavesHash);
    if (text !== undefined) return readEpoch(text);
  }
  throw new Failure(
    `Cannot read epoch ${epoch}: its document ${leavesHash.slice(2)}.json is in none of ${
      folders.join(", ")
    }; ` +
      "every host and trainer of the run has it: name the folder with --epochs",
  );
}

function jsonOf(account: string, { earned, redeemableUnits, pendingUnits }: Account): string {
  const facts = { account, pendingUnits, redeemableUnits, ...earned };
  return JSON.stringify(facts, (_, it) => typeof it === "bigint" ? `${it}` : it);
}

/** A table for a person. */
export function tableOf(account: string, { earned, redeemableUnits, pendingUnits }: Account): string {
  const head = ["day", "shard", "training", "inference", "royalties"];
  const rows = earned.rows.map(rowOf);
  const royalties = earned.royalties.reduce((sum, { units }) => sum + units, 0n);
  const summary = [
    ["pending", pendingUnits, "proposed, and not final yet"],
    ["redeemable", redeemableUnits + earned.servedUnits + royalties, "--withdraw takes it out"],
    ["withdrawn", earned.withdrawnUnits, ""],
  ] as const;
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    `  ${
      row.map((cell, column) => column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))
        .join("  ")
    }\n`;
  return [
    `${account}\n`,
    rows.length === 0 ? "  nothing was paid out yet\n" : [head, ...rows].map(line).join(""),
    "\n",
    ...summary.map(([name, units, words]) =>
      `  ${name.padEnd(12)}${inTokens(units)}${words && `   ${words}`}\n`
    ),
  ].join("");
}

function rowOf({ day, model, stage, trainingUnits, inferenceUnits, royaltyUnits }: EarningsRow): string[] {
  return [
    day,
    `${model.slice(0, 8)}/${stage}`,
    ...[trainingUnits, inferenceUnits, royaltyUnits].map(inTokens),
  ];
}

if (import.meta.main) Deno.exit(await execute(earningsCommand, Deno.args));
