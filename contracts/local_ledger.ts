/**
 * The ledger that needs no setting up: a local chain with the contracts on it, in
 * one folder, found again where it was left. Its first account has every office and
 * as much play money as anybody asks for; its key is known to all the world, so
 * nothing of value may ever be put there.
 */

import { join } from "node:path";
import { HDNodeWallet } from "ethers";
import { type Chain, connectChain } from "./chain.ts";
import { openDeployer } from "./chain_ledger.ts";
import type { LedgerClock } from "./clock.ts";
import { CONTRACTS } from "./artifacts.ts";
import { deploy, type Deployment, deploymentSchema, localTerms, type Terms } from "./deployment.ts";
import { fileJournal } from "./journal.ts";
import { LOCAL_CHAIN_ID, type LocalChain, startLocalChain } from "./local_chain.ts";
import { bytesOf } from "./typed_data.ts";

/** What a local ledger is made of. */
export interface LocalLedgerOptions {
  readonly clock: LedgerClock;
  /** Anvil, see `findAnvil`. */
  readonly program: string;
  /** Holds the chain's state and where the contracts lie; exists. */
  readonly folder: string;
  /** 0 takes any that is free. Default: 0. */
  readonly port?: number;
  /** What differs from {@link localTerms}; counts when the contracts are deployed. */
  readonly terms?: Partial<Terms>;
}

/** A local chain with the contracts on it. */
export interface LocalLedger extends AsyncDisposable {
  readonly chain: LocalChain;
  readonly deployment: Deployment;
  /** The account that has every office, 32 bytes. */
  readonly ownerKey: Uint8Array;
  /** Whether the contracts were there already. */
  readonly found: boolean;
}

/** The words that every chain for trials makes its accounts of. */
const PHRASE = "test test test test test test test test test test test junk";
/** What an account is given to pay for transactions with: it does not run out. */
const GAS_WEI = 10n ** 20n;

/** Key of the account that has every office on a local chain. */
export function localOwnerKey(): Uint8Array {
  return bytesOf(HDNodeWallet.fromPhrase(PHRASE).privateKey);
}

/**
 * Starts the chain of a folder, and deploys the contracts unless they are there.
 *
 * @throws {Error} if the chain does not start; nothing is left behind then.
 */
export async function openLocalLedger(options: LocalLedgerOptions): Promise<LocalLedger> {
  const { clock, folder, terms } = options;
  const chain = await startLocalChain(options);
  try {
    const key = localOwnerKey();
    const path = join(folder, "deployment.json");
    const connection = connectChain(chain.url, LOCAL_CHAIN_ID);
    const known = await readDeployment(path);
    const found = known !== undefined && await isThere(connection, known);
    connection.close();
    const deployment = found
      ? known
      : await deployOn(chain.url, clock, key, join(folder, "deployer.json"), terms);
    if (!found) await Deno.writeTextFile(path, JSON.stringify(deployment));
    return {
      chain,
      deployment,
      ownerKey: key,
      found,
      [Symbol.asyncDispose]: () => chain[Symbol.asyncDispose](),
    };
  } catch (error) {
    await chain[Symbol.asyncDispose]();
    throw error;
  }
}

async function deployOn(
  url: string,
  clock: LedgerClock,
  key: Uint8Array,
  journal: string,
  terms: Partial<Terms> = {},
): Promise<Deployment> {
  // What an earlier chain of this folder had under way is not this one's.
  await Deno.remove(journal).catch(absent);
  using deployer = openDeployer({
    chain: url,
    chainId: LOCAL_CHAIN_ID,
    key,
    clock,
    journal: fileJournal(journal),
    pollMs: 5,
  });
  const deployment = await deploy(deployer, { ...localTerms(deployer.address), ...terms });
  return deploymentSchema.parse(lowerCase(deployment));
}

/** Manifests spell addresses in one way only. */
function lowerCase(deployment: Deployment): Deployment {
  return Object.fromEntries(
    Object.entries(deployment).map((
      [name, value],
    ) => [name, typeof value === "string" ? value.toLowerCase() : value]),
  ) as unknown as Deployment;
}

async function readDeployment(path: string): Promise<Deployment | undefined> {
  const text = await Deno.readTextFile(path).catch(absent);
  return text === undefined ? undefined : deploymentSchema.parse(JSON.parse(text));
}

/** A chain that was killed may have forgotten what it did last. */
async function isThere(chain: Chain, { escrow }: Deployment): Promise<boolean> {
  return await chain.ask<string>("eth_getCode", [escrow, "latest"]) !== "0x";
}

/**
 * Gives an account of a local chain gas and play money. Only a local chain does that.
 *
 * @throws {ChainError} if the chain is no local one.
 */
export async function fundLocally(
  url: string,
  { token, chainId }: Pick<Deployment, "token" | "chainId">,
  account: string,
  units: bigint,
): Promise<void> {
  const chain = connectChain(url, chainId);
  try {
    await chain.ask("anvil_setBalance", [account, `0x${GAS_WEI.toString(16)}`]);
    if (units === 0n) return;
    // The chain keeps the keys of its own accounts, and so their order.
    const [from] = await chain.ask<string[]>("eth_accounts", []);
    const data = CONTRACTS.TestToken.interface.encodeFunctionData("mint", [account, units]);
    await chain.ask("eth_sendTransactionSync", [{ from, to: token, data }]);
  } finally {
    chain.close();
  }
}

function absent(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
