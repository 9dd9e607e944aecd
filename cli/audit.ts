/**
 * `deno task audit`: computes the epoch that is proposed anew, from what hosts and
 * their neighbours have signed, and says what is wrong with it; challenges it under
 * a bond with one flag.
 */

import { join } from "node:path";
import { type Command, Option } from "commander";
import { RealClock } from "../actors/core/real_clock.ts";
import type { ChainLedger } from "../contracts/chain_ledger.ts";
import { faultOf, type NamedDocument, readEpoch, treeOf } from "../contracts/epoch.ts";
import { epochFolder } from "../contracts/epoch_store.ts";
import { epochRules, openWallet } from "./accounts.ts";
import { command, execute, Failure, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { HOME_DIRECTORY } from "./box.ts";
import { createKey } from "./keystore.ts";
import { inWords, ledgerOf, openAccount, type WalletOptions, walletOptions } from "./ledger.ts";
import { startLogging } from "./logging.ts";
import { readManifest } from "./manifest_file.ts";
import { type LogLevel, logLevelOption, paths, required, runOption, text } from "./options.ts";
import { openPlaces } from "./places.ts";

interface AuditOptions extends WalletOptions {
  readonly run: string;
  readonly chain?: string;
  readonly epochs: readonly string[];
  readonly challenge?: boolean;
  readonly logLevel: LogLevel;
}

const auditCommand: Command = walletOptions(
  required(
    command({
      name: "audit",
      summary: "Compute what an epoch pays anew, from what hosts and their neighbours have signed.\n" +
        "Fails if it is wrong; whoever challenges it in time, and is right, gets part of its proposer's bond.",
      examples: [
        {
          does: "look at the epoch that is proposed, or the last",
          line: "deno task audit --run runs/my-run.json",
        },
        {
          does: "challenge it if it is wrong",
          line: "deno task audit --run runs/my-run.json --challenge --wallet wallet.json",
        },
      ],
    }),
    runOption(),
  ),
)
  .option("--chain <url>", "where the ledger's chain answers; without it: as the manifest says", text)
  .addOption(
    new Option(
      "--epochs <folder...>",
      "where documents of epochs lie: a host's or a trainer's folder has them",
    )
      .argParser(paths).default([], ".murmuration/host/epochs, .murmuration/runs/<name>/epochs"),
  )
  .option("--challenge", "challenge what is wrong, under a bond of the wallet's stake")
  .addOption(logLevelOption())
  .action(audit);

async function audit(options: AuditOptions): Promise<void> {
  const manifest = await readManifest(options.run);
  const at = ledgerOf(manifest, options.chain);
  if (at === undefined) throw new UsageError(`Cannot audit ${manifest.name}: it has no ledger`);
  const log = await startLogging("audit", options);
  const clock = new RealClock();
  const wallet = options.challenge ? await openWallet(options) : createKey();
  if (wallet === undefined) {
    throw new UsageError("Cannot challenge: name the wallet that bonds, with --wallet");
  }
  using view = await openPlaces(at, clock, log);
  const folders = options.epochs.length > 0
    ? options.epochs
    : [join(HOME_DIRECTORY, "host", "epochs"), join(HOME_DIRECTORY, "runs", manifest.name, "epochs")];
  try {
    using ledger = await openAccount(at, wallet, clock);
    const { finalEpoch, proposedRoot, challenged } = await ledger.epochOf(at.model);
    const epoch = proposedRoot === undefined ? finalEpoch : finalEpoch + 1;
    if (epoch === 0) return PROCESS_OUTPUT.out("Nobody has proposed an epoch yet\n");
    const fault = await faultOnLedger(
      ledger,
      epochRules({ ...at, places: view.places }, manifest),
      epoch,
      folders,
    );
    const name = `Epoch ${epoch}, ${proposedRoot === undefined ? "final" : "proposed"},`;
    if (fault === undefined) return PROCESS_OUTPUT.out(`${name} is as the sheets say\n`);
    if (options.challenge && proposedRoot !== undefined && !challenged) {
      await ledger.challengeEpoch(at.model, proposedRoot);
      throw new Failure(`${name} is wrong, and is challenged now: ${fault}`);
    }
    throw new Failure(`${name} is wrong: ${fault}`);
  } catch (error) {
    throw inWords(error);
  }
}

/** What is wrong with an epoch as it stands on the ledger; `undefined` if nothing is. */
export async function faultOnLedger(
  ledger: Pick<ChainLedger, "proposalOf">,
  rules: Parameters<typeof faultOf>[0],
  epoch: number,
  folders: readonly string[],
): Promise<string | undefined> {
  const proposal = await ledger.proposalOf(rules.model, epoch);
  if (proposal === undefined) return "nobody has proposed it";
  const claimed = await find(proposal.leavesHash, folders);
  const before = claimed.document.previous === null
    ? undefined
    : await find(claimed.document.previous, folders);
  const known = epoch === 1 ? undefined : await ledger.proposalOf(rules.model, epoch - 1);
  if (known?.leavesHash !== before?.hash) return "it follows another document than the ledger names";
  if (treeOf(claimed)?.root !== proposal.root) return "its root is not that of its document";
  return faultOf(rules, before, claimed);
}

async function find(hash: string, folders: readonly string[]): Promise<NamedDocument> {
  for (const folder of folders) {
    const text = await epochFolder(folder).get(hash);
    if (text === undefined) continue;
    try {
      return readEpoch(text);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new Failure(`The document ${hash.slice(2)} is none: ${error.message}`);
    }
  }
  throw new Failure(
    `Cannot audit: ${hash.slice(2)}.json is in none of ${folders.join(", ")}; name its folder with --epochs`,
  );
}

if (import.meta.main) Deno.exit(await execute(auditCommand, Deno.args));
