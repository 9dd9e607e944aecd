/**
 * What keeps the accounts of a peer in a run that has a ledger: files in its folder,
 * keys, and the way to the chain. What is written in them is `actors/earner.ts`'s and
 * `actors/settler.ts`'s to say.
 */

import { join } from "node:path";
import type { Logger } from "@logtape/logtape";
import type { HostParts, TrainerParts } from "../actors/assemble.ts";
import { TollBooth } from "../actors/tolls.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import { type Identity, publicKeyOf } from "../actors/wire/identity.ts";
import type { ChainLedger } from "../contracts/chain_ledger.ts";
import { UNITS_PER_TOKEN } from "../contracts/deployment.ts";
import type { EpochRules } from "../contracts/epoch.ts";
import { epochFolder } from "../contracts/epoch_store.ts";
import { fileJournal } from "../contracts/journal.ts";
import type { Places } from "../contracts/places.ts";
import { accountOf, digestSigner } from "../contracts/signing.ts";
import { VoucherBook } from "../contracts/voucher_book.ts";
import { type Manifest, partition, stageFlopsPerToken } from "../run/mod.ts";
import { UsageError } from "./arguments.ts";
import { inTokens, inWords, laterAccount, type LedgerPlace, type WalletOptions } from "./ledger.ts";
import { type OpenedKey, openKey } from "./keystore.ts";
import { readPassword } from "./password.ts";

/** A ledger, and who holds which stage of the run's model. */
export type LedgerView = LedgerPlace & { readonly places: Places };

/** Peers whose keys are remembered. */
const PEERS_MAX = 4_096;
/** Gas for less is better spent otherwise; what ends soon is redeemed all the same. */
const REDEEM_AT_LEAST_UNITS = UNITS_PER_TOKEN;
/** The way there, and twice as much for the way back. */
const PASSES = 3;

/** What a host's accounts are made of. */
export interface HostAccountsOptions {
  readonly at: LedgerView;
  readonly identity: Identity;
  /** Where they are kept; it exists. */
  readonly dataDir: string;
  /** That it is registered for, if that is known. */
  readonly stage: number | undefined;
  /** For each token of a text, in units; 0: nothing. */
  readonly priceUnits: bigint;
  readonly log: Logger;
}

/** File of a data folder that vouchers wait in. */
export const VOUCHERS_FILE = "vouchers.json";

/**
 * A host's accounts, in its data folder; for `assembleHost`.
 *
 * @throws {UsageError} if it wants to be paid, and nobody has registered it.
 */
export async function hostAccounts(
  { at, identity, dataDir, stage, priceUnits, log }: HostAccountsOptions,
): Promise<Required<Pick<HostParts, "accounts">> & Pick<HostParts, "tolls"> & Disposable> {
  const { deployment, model, places } = at;
  const key = identity.privateKey.raw;
  const signer = digestSigner(key);
  const clock = new RealClock();
  const ledger = laterAccount(at, { key }, clock, fileJournal(join(dataDir, "outbox.json")));
  let tolls: TollBooth | undefined;
  if (priceUnits > 0n) {
    const host = stage === undefined ? undefined : places.ownerEver(signer.address, stage);
    if (host === undefined) {
      throw new UsageError("Cannot take money: nobody has registered this host for a stage");
    }
    const journal = fileJournal(join(dataDir, VOUCHERS_FILE));
    tolls = new TollBooth({
      book: await VoucherBook.open({ deployment, host, journal, epochMs: () => clock.epochMs() }),
      ledger,
      priceUnits,
      redeemAtLeastUnits: REDEEM_AT_LEAST_UNITS,
      onTrouble: (reason) => log.warn("Passing over money", { reason }),
    });
  }
  return {
    ...tolls === undefined ? {} : { tolls },
    accounts: {
      deployment,
      model,
      signer,
      accountOf: peerAccounts(),
      ownerOf: (stage) => places.ownerEver(signer.address, stage),
      ledger,
      ...tolls === undefined ? {} : { redeem: () => tolls.redeem() },
      epochs: epochFolder(join(dataDir, "epochs")),
      journal: fileJournal(join(dataDir, "sheets.json")),
    },
    [Symbol.dispose]: () => ledger[Symbol.dispose](),
  };
}

/** What a trainer's accounts are made of. */
export interface TrainerAccountsOptions {
  readonly at: LedgerView;
  readonly manifest: Manifest;
  readonly identity: Identity;
  /** Proposes epochs; without it somebody else has to. */
  readonly wallet: OpenedKey | undefined;
  /** Where the accounts are kept; it exists. */
  readonly folder: string;
  readonly log: Logger;
}

/**
 * A trainer's accounts; for `assembleTrainer`. The bond is staked, if it is not there.
 *
 * @throws {Failure} if it can't be.
 */
export async function trainerAccounts(
  { at, manifest, identity, wallet, folder, log }: TrainerAccountsOptions,
): Promise<Required<Pick<TrainerParts, "accounts">> & Disposable> {
  const ledger = wallet === undefined
    ? undefined
    : laterAccount(at, wallet, new RealClock(), fileJournal(join(folder, "outbox.json")));
  try {
    if (ledger !== undefined) await stakeBond(ledger, log);
  } catch (error) {
    ledger?.[Symbol.dispose]();
    throw inWords(error);
  }
  if (ledger === undefined) log.warn("Without --wallet nobody here puts on the ledger what hosts earn");
  const { places } = at;
  return {
    accounts: {
      rules: epochRules(at, manifest),
      signer: digestSigner(identity.privateKey.raw),
      accountOf: peerAccounts(),
      ownerNow: (signer, stage) => places.ownerNow(signer, stage),
      ledger,
      epochs: epochFolder(join(folder, "epochs")),
      journal: fileJournal(join(folder, "sheets.json")),
      onEpoch: (epoch, isFinal) => log.info(isFinal ? `Epoch ${epoch} is final` : `Proposed epoch ${epoch}`),
      onTrouble: (reason) => log.warn("Cannot settle yet", { reason }),
    },
    [Symbol.dispose]: () => ledger?.[Symbol.dispose](),
  };
}

/** By which a run's epochs are computed, by everybody alike. */
export function epochRules({ deployment, model, places }: LedgerView, manifest: Manifest): EpochRules {
  const tokens = manifest.sequencesPerMicroBatch * manifest.sequenceLength;
  return {
    deployment,
    model,
    stageWork: partition(manifest).map((slice) =>
      BigInt(PASSES * tokens) * BigInt(Math.round(stageFlopsPerToken(manifest, slice)))
    ),
    microBatches: manifest.microBatchesPerStep,
    ownerOf: (signer, stage) => places.ownerEver(signer, stage),
  };
}

/** Opens the wallet that the flags name; `undefined` if they name none. */
export async function openWallet({ wallet, passwordFile }: WalletOptions): Promise<OpenedKey | undefined> {
  if (wallet === undefined) return undefined;
  return await openKey(wallet, await readPassword(`Password of ${wallet}: `, passwordFile));
}

/** Under which account a peer signs; the answers are kept. */
export function peerAccounts(): (peer: string) => string | undefined {
  const known = new Map<string, string | undefined>();
  return (peer) => {
    if (known.has(peer)) return known.get(peer);
    const key = publicKeyOf(peer);
    const account = key === undefined ? undefined : accountOf(key);
    if (known.size >= PEERS_MAX) known.clear();
    known.set(peer, account);
    return account;
  };
}

async function stakeBond(ledger: ChainLedger, log: Logger): Promise<void> {
  const [bond, { stakedUnits, lockedUnits }] = await Promise.all([
    ledger.bondUnits(),
    ledger.stakeOf(ledger.account),
  ]);
  const lacking = bond - (stakedUnits - lockedUnits);
  if (lacking <= 0n) return;
  await ledger.stake(lacking);
  log.info(`Staked ${inTokens(lacking)} tokens, as a bond for what it proposes`);
}
