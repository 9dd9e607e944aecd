/**
 * Operators of a swarm on this machine, and the local ledger that they meet on: each
 * host has one of its own, with play money. Used to show and to test what strangers
 * do; their keys are kept in memory and nowhere else.
 */

import { join } from "node:path";
import type { Clock } from "../actors/core/clock.ts";
import { loadOrCreateIdentity } from "../actors/wire/identity.ts";
import type { ChainLedger } from "../contracts/chain_ledger.ts";
import { type Terms, UNITS_PER_TOKEN } from "../contracts/deployment.ts";
import { fundLocally, type LocalLedger, openLocalLedger } from "../contracts/local_ledger.ts";
import { offerModel } from "./chain.ts";
import { createKey, type OpenedKey, saveKey } from "./keystore.ts";
import { ledgerOf, type LedgerPlace, openAccount } from "./ledger.ts";
import { readManifest } from "./manifest_file.ts";
import { enrol } from "./take_place.ts";

/** What they are about. */
export interface LocalOperatorsOptions {
  /** Manifest of the run; its ledger is written into it. */
  readonly run: string;
  /** Empty folder; its owner removes it. */
  readonly folder: string;
  /** Anvil, see `findAnvil`. */
  readonly program: string;
  readonly clock: Clock;
  /** What an epoch of training brings, in all stages. */
  readonly emissionUnits: bigint;
  /** How the contracts differ from those of other local chains. */
  readonly terms?: Partial<Terms>;
}

/** What each stakes. */
const STAKE_UNITS = 100n * UNITS_PER_TOKEN;
/** More than any run of a minute emits. */
const POOL_EPOCHS = 1_000n;

/** A ledger and whoever is on it. */
export class LocalOperators implements AsyncDisposable {
  readonly at: LedgerPlace;
  readonly #options: LocalOperatorsOptions;
  readonly #ledger: LocalLedger;
  readonly #keys = new Map<number, OpenedKey>();
  readonly #wallets = new Map<string, OpenedKey>();
  /** The draws are to be one after the other, as the hosts come. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(options: LocalOperatorsOptions, ledger: LocalLedger, at: LedgerPlace) {
    this.#options = options;
    this.#ledger = ledger;
    this.at = at;
  }

  /** Starts the ledger and offers the run's model there. */
  static async open(options: LocalOperatorsOptions): Promise<LocalOperators> {
    const { run, emissionUnits: emission } = options;
    const ledger = await openLocalLedger(options);
    try {
      await offerModel(run, ledger, { minStake: STAKE_UNITS, emission, pool: POOL_EPOCHS * emission });
      return new LocalOperators(options, ledger, ledgerOf(await readManifest(run), undefined)!);
    } catch (error) {
      await ledger[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Takes a place for a host, by its number; for `LocalSwarmOptions.enrol`. Its own, if it comes back. */
  enrol(number: number, dataDir: string): Promise<number> {
    const enrolled = this.#last.then(() => this.#enrol(number, dataDir));
    this.#last = enrolled.catch(() => {});
    return enrolled;
  }

  async #enrol(number: number, dataDir: string): Promise<number> {
    const identity = await loadOrCreateIdentity(join(dataDir, "identity.key"));
    const known = this.#keys.get(number);
    const account = known ?? createKey();
    this.#keys.set(number, account);
    if (known === undefined) await this.fund(account.address, STAKE_UNITS);
    const { clock } = this.#options;
    const wish = { at: this.at, account, identity, stakeUnits: STAKE_UNITS, clock, tell: () => {} };
    return (await enrol(wish)).stage;
  }

  /** Who runs a host. */
  operatorOf(number: number): string {
    return this.#keys.get(number)!.address;
  }

  /** The ledger as the operator of a host uses it. */
  open(number: number): Promise<ChainLedger> {
    return openAccount(this.at, this.#keys.get(number)!, this.#options.clock);
  }

  /** Gives an account play money, and gas. */
  async fund(account: string, units: bigint): Promise<void> {
    await fundLocally(this.at.rpc, this.at.deployment, account, units);
  }

  /** A wallet in a file, with so much in it, and the flags that use it. */
  async wallet(name: string, units: bigint): Promise<{ readonly address: string; readonly flags: string[] }> {
    const { folder } = this.#options;
    const key = createKey();
    const file = join(folder, `${name}.wallet.json`);
    const passwordFile = join(folder, `${name}.password`);
    await Deno.writeTextFile(passwordFile, name, { mode: 0o600 });
    await saveKey(file, key, name);
    this.#wallets.set(name, key);
    await this.fund(key.address, units);
    return { address: key.address, flags: ["--wallet", file, "--password-file", passwordFile] };
  }

  /** The ledger as whoever has that wallet uses it. */
  openWallet(name: string): Promise<ChainLedger> {
    return openAccount(this.at, this.#wallets.get(name)!, this.#options.clock);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ledger[Symbol.asyncDispose]();
  }
}
