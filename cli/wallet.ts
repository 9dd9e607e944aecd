/**
 * `deno task wallet`: keys that stake, pay and are paid, each in an encrypted file.
 * It shows addresses and amounts, never a key.
 */

import { Argument, type Command } from "commander";
import { RealClock } from "../actors/core/real_clock.ts";
import { UNITS_PER_TOKEN } from "../contracts/deployment.ts";
import { ChainError } from "../contracts/chain.ts";
import { fundLocally } from "../contracts/local_ledger.ts";
import { command, execute, Failure, PROCESS_OUTPUT, UsageError } from "./arguments.ts";
import { addressIn, createKey, readKey, saveKey } from "./keystore.ts";
import { inTokens, inWords, ledgerOf, type LedgerPlace, openAccount, tokens } from "./ledger.ts";
import { readManifest } from "./manifest_file.ts";
import { text } from "./options.ts";
import { newPassword, readPassword } from "./password.ts";

interface WalletCommandOptions {
  readonly run?: string;
  readonly chain?: string;
  readonly tokens: bigint;
  readonly keyFile?: string;
  readonly passwordFile?: string;
  readonly json?: boolean;
}

const ACTIONS = ["create", "import", "show", "fund"] as const;
type Action = (typeof ACTIONS)[number];

const walletCommand: Command = command({
  name: "wallet",
  summary: "Make, import, show and fund the wallets that stake, pay and are paid.\n" +
    "A wallet is a file with one encrypted key: keep it, and its password, as you keep money.",
  examples: [
    { does: "make one", line: "deno task wallet create wallet.json" },
    {
      does: "take a key over that you have: 64 digits in a file",
      line: "deno task wallet import wallet.json --key-file key.txt",
    },
    {
      does: "its address, and what it has and has staked",
      line: "deno task wallet show wallet.json --run runs/my-run.json",
    },
    {
      does: "play money, on a local chain",
      line: "deno task wallet fund wallet.json --run runs/my-run.json --tokens 1000",
    },
  ],
})
  .addArgument(new Argument("<action>", "what to do").choices(ACTIONS))
  .addArgument(new Argument("<file>", "the wallet").argParser(text))
  .option("--run <file>", "show, fund: manifest of the run whose ledger is meant", text)
  .option("--chain <url>", "show, fund: where the chain answers; without it: as the manifest says", text)
  .option("--tokens <amount>", "fund: how many", tokens, 1_000n * UNITS_PER_TOKEN)
  .option("--key-file <file>", "import: where the key is, 64 hexadecimal digits; without it: ask", text)
  .option(
    "--password-file <file>",
    "create, import: file whose first line is the password; without it: ask",
    text,
  )
  .option("--json", "tell it as JSON")
  .action(wallet);

async function wallet(action: Action, file: string, options: WalletCommandOptions): Promise<void> {
  switch (action) {
    case "create":
      return await save(file, options, createKey);
    case "import":
      return await save(file, options, async () => readKey(await readPassword("Key: ", options.keyFile)));
    case "show":
      return await show(file, options);
    case "fund":
      return await fund(file, options);
    default:
      action satisfies never;
  }
}

async function save(
  file: string,
  options: WalletCommandOptions,
  make: () => ReturnType<typeof createKey> | Promise<ReturnType<typeof createKey>>,
): Promise<void> {
  const key = await make();
  await saveKey(file, key, await newPassword(options.passwordFile));
  tell(options, { address: key.address, file }, `${key.address}\n`);
}

async function show(file: string, options: WalletCommandOptions): Promise<void> {
  const address = await addressIn(file);
  if (options.run === undefined) return tell(options, { address }, `${address}\n`);
  const place = await placeOf(options);
  try {
    // To look takes no key of one's own.
    using ledger = await openAccount(place, createKey(), new RealClock());
    const { tokenUnits, gasWei } = await ledger.balancesOf(address);
    const { stakedUnits, lockedUnits, unbondingUnits } = await ledger.stakeOf(address);
    const amounts = {
      tokens: inTokens(tokenUnits),
      staked: inTokens(stakedUnits),
      locked: inTokens(lockedUnits),
      unbonding: inTokens(unbondingUnits),
      gas: inTokens(gasWei),
    };
    const lines = Object.entries(amounts).map(([name, amount]) => `  ${name.padEnd(10)}${amount}\n`);
    tell(options, { address, ...amounts }, `${address}\n${lines.join("")}`);
  } catch (error) {
    throw inWords(error);
  }
}

async function fund(file: string, options: WalletCommandOptions): Promise<void> {
  const address = await addressIn(file);
  const place = await placeOf(options);
  try {
    await fundLocally(place.rpc, place.deployment, address, options.tokens);
  } catch (error) {
    if (!(error instanceof ChainError)) throw error;
    throw new Failure(
      `Cannot fund ${address}: only a local chain gives money away, and that has to be up: ${error.message}`,
    );
  }
  const amount = inTokens(options.tokens);
  tell(options, { address, tokens: amount }, `${address} has ${amount} more, and gas\n`);
}

async function placeOf({ run, chain }: WalletCommandOptions): Promise<LedgerPlace> {
  if (run === undefined) {
    throw new UsageError("Cannot look for a ledger: name a run that has one, with --run");
  }
  const place = ledgerOf(await readManifest(run), chain);
  if (place === undefined) throw new UsageError(`Cannot look for a ledger: ${run} has none`);
  return place;
}

function tell({ json }: WalletCommandOptions, facts: Readonly<Record<string, string>>, words: string): void {
  PROCESS_OUTPUT.out(json ? `${JSON.stringify(facts)}\n` : words);
}

if (import.meta.main) Deno.exit(await execute(walletCommand, Deno.args));
