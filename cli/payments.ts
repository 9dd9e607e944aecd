/** What pays hosts for texts: a wallet, and what it owes, on disk. How much that is, is `actors/tolls.ts`'s to say. */

import { join } from "node:path";
import type { ReaderParts } from "../actors/assemble.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import { TollPurse } from "../actors/tolls.ts";
import { fileJournal } from "../contracts/journal.ts";
import { digestSigner } from "../contracts/signing.ts";
import { VoucherPurse } from "../contracts/voucher_purse.ts";
import { type LedgerView, peerAccounts } from "./accounts.ts";
import { UsageError } from "./arguments.ts";
import { HOME_DIRECTORY } from "./box.ts";
import { holdDataDirectory } from "./data_directory.ts";
import type { OpenedKey } from "./keystore.ts";
import { laterAccount, type PayingFlags } from "./ledger.ts";

/** What pays for texts. */
interface PayingOptions {
  readonly at: LedgerView;
  readonly wallet: OpenedKey;
  /** Where what is owed is kept; it exists. */
  readonly folder: string;
  /** What each host's lane is filled with. */
  readonly depositUnits: bigint;
}

async function payments(
  { at, wallet, folder, depositUnits }: PayingOptions,
): Promise<{ readonly payments: TollPurse } & Disposable> {
  const { deployment, model, places } = at;
  const clock = new RealClock();
  const ledger = laterAccount(at, wallet, clock, fileJournal(join(folder, "outbox.json")));
  const purse = await VoucherPurse.open({
    deployment,
    signer: digestSigner(wallet.key),
    journal: fileJournal(join(folder, `${deployment.chainId}-${deployment.escrow}.json`)),
    epochMs: () => clock.epochMs(),
  });
  const accountOf = peerAccounts();
  return {
    payments: new TollPurse({
      purse,
      ledger,
      payer: wallet.address,
      model,
      payeeOf(peer, stage) {
        const account = accountOf(peer);
        return account === undefined ? undefined : places.placeNow(account, stage)?.owner;
      },
      depositUnits,
    }),
    [Symbol.dispose]: () => ledger[Symbol.dispose](),
  };
}

/**
 * What a reader needs to pay hosts, as its flags say; nothing of that where it has no wallet.
 *
 * @throws {UsageError} if there is a wallet and no ledger.
 */
export async function paymentsOf(
  options: PayingFlags,
  wallet: OpenedKey | undefined,
  at: LedgerView | undefined,
): Promise<Pick<ReaderParts, "payments" | "priceUnitsMax"> & Disposable> {
  if (wallet === undefined) return { [Symbol.dispose]: () => {} };
  if (at === undefined) throw new UsageError("Cannot pay hosts: this run has no ledger");
  // Two processes that pay from one wallet would sign the same money twice.
  const data = await holdDataDirectory(
    options.paymentsDir ?? join(HOME_DIRECTORY, "payments", wallet.address),
  );
  try {
    const paying = await payments({ at, wallet, folder: data.path, depositUnits: options.deposit });
    return {
      payments: paying.payments,
      priceUnitsMax: Number(options.priceMax / 1_000n),
      [Symbol.dispose]() {
        paying[Symbol.dispose]();
        data[Symbol.dispose]();
      },
    };
  } catch (error) {
    data[Symbol.dispose]();
    throw error;
  }
}
