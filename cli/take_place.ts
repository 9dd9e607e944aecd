/**
 * A host's place in the ledger of its run: staked for and taken before it starts,
 * by the wallet, for the key that the host will sign with. The wallet stays out of
 * the box, and is of no use once the place is taken.
 */

import { join } from "node:path";
import { id } from "ethers";
import { type Identity, loadOrCreateIdentity } from "../actors/wire/identity.ts";
import { ChainError } from "../contracts/chain.ts";
import type { ChainLedger } from "../contracts/chain_ledger.ts";
import type { LedgerClock } from "../contracts/clock.ts";
import { LOCAL_CHAIN_ID } from "../contracts/local_chain.ts";
import { fundLocally } from "../contracts/local_ledger.ts";
import { digestSigner } from "../contracts/signing.ts";
import type { Manifest } from "../run/mod.ts";
import { UsageError } from "./arguments.ts";
import type { HostOptions } from "./host_box.ts";
import { createKey, type OpenedKey, openKey } from "./keystore.ts";
import { inTokens, inWords, ledgerOf, type LedgerPlace, openAccount } from "./ledger.ts";
import { readPassword } from "./password.ts";

/** What it takes to take a place. */
export interface PlaceWish {
  readonly options: Pick<HostOptions, "chain" | "stage" | "stake" | "wallet" | "passwordFile">;
  readonly manifest: Manifest;
  /** Holds the host's key, or will. */
  readonly dataDir: string;
  readonly clock: LedgerClock;
  readonly tell: (words: string) => void;
}

/**
 * Takes a place, or finds the one that is held.
 *
 * @returns the stage, where the ledger says which it is.
 * @throws {UsageError} if the host has no place and no wallet to take one, or holds another stage than wanted.
 * @throws {Failure} if the chain refuses, or does not answer.
 */
export async function takePlace(wish: PlaceWish): Promise<{ readonly stage?: number }> {
  const { options, manifest } = wish;
  const at = ledgerOf(manifest, options.chain);
  if (at === undefined) {
    if (options.stake === undefined && options.wallet === undefined) return {};
    throw new UsageError(`Cannot stake for ${manifest.name}: it has no ledger; deno task chain makes one`);
  }
  const identity = await loadOrCreateIdentity(join(wish.dataDir, "identity.key"));
  const place = options.wallet === undefined
    ? await findPlace(wish, at, identity)
    : await register(wish, at, identity, options.wallet);
  if (options.stage !== undefined && options.stage !== place.stage) {
    throw new UsageError(
      `Cannot serve stage ${options.stage}: the registry has drawn stage ${place.stage} for this operator`,
    );
  }
  return place;
}

async function findPlace(
  { manifest, clock }: PlaceWish,
  at: LedgerPlace,
  identity: Identity,
): Promise<{ readonly stage: number }> {
  const signer = digestSigner(identity.privateKey.raw).address;
  try {
    using ledger = await openAccount(at, createKey(), clock);
    const place = await ledger.placeOf(at.model, signer, 0);
    if (place !== undefined) return { stage: place.stage };
  } catch (error) {
    throw inWords(error);
  }
  throw new UsageError(
    `Cannot serve ${manifest.name}: its ledger knows no place of this host (${signer}); ` +
      "take one with --wallet and --stake",
  );
}

async function register(
  { options, clock, tell }: PlaceWish,
  at: LedgerPlace,
  identity: Identity,
  wallet: string,
): Promise<{ readonly stage: number }> {
  const account = await openKey(wallet, await readPassword(`Password of ${wallet}: `, options.passwordFile));
  return await enrol({ at, account, identity, stakeUnits: options.stake ?? 0n, clock, tell });
}

/** Who takes a place, and for which key. */
export interface Enrolment extends Pick<PlaceWish, "clock" | "tell"> {
  readonly at: LedgerPlace;
  /** The operator's. */
  readonly account: OpenedKey;
  /** The host's. */
  readonly identity: Identity;
  readonly stakeUnits: bigint;
}

/**
 * Stakes for a host and takes a place for it, or finds the one that is held.
 *
 * @throws {Failure} if the chain refuses, or does not answer.
 */
export async function enrol(
  { at, account, identity, stakeUnits, clock, tell }: Enrolment,
): Promise<{ readonly stage: number }> {
  const signer = digestSigner(identity.privateKey.raw);
  try {
    using ledger = await openAccount(at, account, clock);
    await stakeUpTo(ledger, stakeUnits, tell);
    const { stage } = await ledger.register(at.model, signer, id(identity.peer));
    tell(`Registered for stage ${stage}, as ${account.address}`);
    await giveGas(ledger, at, signer.address, tell);
    return { stage };
  } catch (error) {
    throw inWords(error);
  }
}

/** What is staked already counts: the same command again stakes nothing. */
async function stakeUpTo(ledger: ChainLedger, units: bigint, tell: (words: string) => void): Promise<void> {
  const { stakedUnits } = await ledger.stakeOf(ledger.account);
  if (stakedUnits >= units) return;
  await ledger.stake(units - stakedUnits);
  tell(`Staked ${inTokens(units - stakedUnits)} tokens`);
}

/** The host redeems and claims with its own key, which needs gas for it; what it earns goes to the wallet. */
async function giveGas(
  ledger: ChainLedger,
  { rpc, deployment }: LedgerPlace,
  node: string,
  tell: (words: string) => void,
): Promise<void> {
  if ((await ledger.balancesOf(node)).gasWei > 0n) return;
  try {
    if (deployment.chainId === LOCAL_CHAIN_ID) return await fundLocally(rpc, deployment, node, 0n);
  } catch (error) {
    // Another chain of that number.
    if (!(error instanceof ChainError)) throw error;
  }
  tell(`Give ${node} some of the chain's coin: with that this host redeems what it earns`);
}
