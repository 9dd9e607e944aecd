/**
 * Money for continued texts, on both sides: a host's booth, which lets a home's
 * tokens pass as far as vouchers or a small credit cover them; and a home's purse,
 * which owes each host for the tokens that it sends and signs it in steps. It knows
 * no texts and computes none.
 */

import type { PeerId } from "./core/actor.ts";
import { CREDIT_TOKENS, LANE_LOOKUPS_MAX, PAYING_HOMES_MAX } from "./limits.ts";
import type { Ledger, SignedVoucher } from "../contracts/ledger.ts";
import type { VoucherBook } from "../contracts/voucher_book.ts";
import type { PaidLane, VoucherPurse } from "../contracts/voucher_purse.ts";
import type { Announcement } from "../routing/mod.ts";

/** What a booth is made of. */
export interface TollBoothOptions {
  readonly book: VoucherBook;
  readonly ledger: Pick<Ledger, "laneOf" | "redeemMany">;
  /** For each token that is computed, of a prompt as of an answer. */
  readonly priceUnits: bigint;
  /** Vouchers that would bring less are not redeemed before they end. */
  readonly redeemAtLeastUnits: bigint;
  /** Told of vouchers that are not taken, and of a chain that does not answer. */
  readonly onTrouble?: (reason: string) => void;
}

/** What a home has paid here and what was computed for it, in units. */
interface HomeAccount {
  paidUnits: bigint;
  servedUnits: bigint;
}

/** A host's side. */
export class TollBooth {
  readonly #options: TollBoothOptions;
  readonly #homes = new Map<PeerId, HomeAccount>();
  /** Homes whose lane is being looked at. */
  readonly #lookups = new Set<PeerId>();

  constructor(options: TollBoothOptions) {
    this.#options = options;
  }

  /** What a token costs, for announcements. */
  get priceUnits(): bigint {
    return this.#options.priceUnits;
  }

  /** A home sends a voucher. One of a lane that is not known to be filled so far is looked at on the chain. */
  accept(from: PeerId, bytes: Uint8Array): void {
    const voucher = voucherIn(bytes);
    const raised = this.#options.book.accept(voucher);
    if (typeof raised === "bigint") return this.#credit(from, raised);
    const isFull = this.#lookups.has(from) || this.#lookups.size >= LANE_LOOKUPS_MAX;
    if (raised !== "uncovered" || isFull) return this.#trouble(`A voucher of ${from} is ${raised}`);
    this.#lookups.add(from);
    this.#lookAt(from, voucher as SignedVoucher)
      .catch((error) => this.#trouble(String(error)))
      .finally(() => this.#lookups.delete(from));
  }

  async #lookAt(from: PeerId, voucher: SignedVoucher): Promise<void> {
    const { book, ledger } = this.#options;
    book.noteLane(voucher, await ledger.laneOf(voucher));
    const raised = book.accept(voucher);
    if (typeof raised === "bigint") this.#credit(from, raised);
    else this.#trouble(`A voucher of ${from} is ${raised}`);
  }

  #credit(home: PeerId, units: bigint): void {
    this.#accountOf(home).paidUnits += units;
    this.#options.book.saved().catch((error) => this.#trouble(String(error)));
  }

  /** Lets so many tokens of a home pass. @returns why they may not; `undefined` if they may, and then they are owed. */
  charge(home: PeerId, tokens: number): string | undefined {
    const { priceUnits } = this.#options;
    if (priceUnits === 0n) return undefined;
    const account = this.#accountOf(home);
    const servedUnits = account.servedUnits + BigInt(tokens) * priceUnits;
    const owedUnits = servedUnits - account.paidUnits;
    if (owedUnits > BigInt(CREDIT_TOKENS) * priceUnits) {
      return `${owedUnits} units would be owed, ${BigInt(CREDIT_TOKENS) * priceUnits} are lent`;
    }
    account.servedUnits = servedUnits;
    return undefined;
  }

  /** What was computed for homes, and what they have paid for it, in units. */
  get totals(): HomeAccount {
    const totals = { paidUnits: 0n, servedUnits: 0n };
    for (const { paidUnits, servedUnits } of this.#homes.values()) {
      totals.paidUnits += paidUnits;
      totals.servedUnits += servedUnits;
    }
    return totals;
  }

  /** Redeems what is due. What the chain has paid it pays no second time, so it may be repeated. */
  async redeem(atLeastUnits: bigint = this.#options.redeemAtLeastUnits): Promise<void> {
    const { book, ledger } = this.#options;
    for (const batch of book.due(atLeastUnits)) {
      await ledger.redeemMany(batch);
      for (const voucher of batch) book.noteLane(voucher, await ledger.laneOf(voucher));
      await book.saved();
    }
  }

  #accountOf(home: PeerId): HomeAccount {
    const known = this.#homes.get(home);
    if (known !== undefined) return known;
    // What the oldest owes is lost, and less than a window's worth.
    if (this.#homes.size >= PAYING_HOMES_MAX) this.#homes.delete(this.#homes.keys().next().value!);
    const fresh = { paidUnits: 0n, servedUnits: 0n };
    this.#homes.set(home, fresh);
    return fresh;
  }

  #trouble(reason: string): void {
    this.#options.onTrouble?.(reason);
  }
}

/** What a purse is made of. */
export interface TollPurseOptions {
  readonly purse: VoucherPurse;
  readonly ledger: Pick<Ledger, "laneOf" | "deposit">;
  readonly payer: string;
  readonly model: string;
  /** Who is paid for what a host does at a stage; `undefined` if it is nobody's. */
  readonly payeeOf: (peer: PeerId, stage: number) => string | undefined;
  /** What a lane is filled with when it is opened, and when it runs low. */
  readonly depositUnits: bigint;
}

/** A voucher for a host. */
export interface Payment {
  readonly peer: PeerId;
  readonly voucher: Uint8Array;
}

interface Debt {
  readonly peer: PeerId;
  readonly lane: PaidLane;
  readonly priceUnits: bigint;
  /** Sent for computing and not signed for; less than nothing if it was signed for and not computed. */
  unpaidUnits: bigint;
}

/** A home's side. */
export class TollPurse {
  readonly #options: TollPurseOptions;
  readonly #prices = new Map<PeerId, bigint>();
  readonly #debts = new Map<string, Debt>();
  /** Lanes that are being filled: whoever needs one waits for the same. */
  readonly #filling = new Map<string, Promise<void>>();

  constructor(options: TollPurseOptions) {
    this.#options = options;
  }

  /** What hosts cost. */
  learn(announcements: readonly Announcement[]): void {
    for (const { peer, priceUnits } of announcements) this.#prices.set(peer, BigInt(priceUnits ?? 0));
    for (const peer of this.#prices.keys()) {
      if (this.#prices.size <= PAYING_HOMES_MAX) break;
      this.#prices.delete(peer);
    }
  }

  /** So many tokens are about to be sent along a path. @returns vouchers that have to go first, if there are any. */
  owe(path: readonly PeerId[], tokens: number): Promise<readonly Payment[]> | undefined {
    const debts = this.#debtsOf(path);
    for (const debt of debts) debt.unpaidUnits += BigInt(tokens) * debt.priceUnits;
    // Half of what is lent: the other half is for what has gone wrong on the way.
    const due = debts.filter(({ lane, priceUnits, unpaidUnits }) =>
      unpaidUnits >= BigInt(CREDIT_TOKENS / 2) * priceUnits || !this.#isOpen(lane)
    );
    return due.length === 0 ? undefined : this.#pay(due);
  }

  /** So many tokens that were sent were not computed by these. */
  forgive(path: readonly PeerId[], tokens: number, peers: readonly PeerId[]): void {
    for (const debt of this.#debtsOf(path)) {
      if (peers.includes(debt.peer)) debt.unpaidUnits -= BigInt(tokens) * debt.priceUnits;
    }
  }

  /** All that the hosts of a path are owed. */
  settle(path: readonly PeerId[]): Promise<readonly Payment[]> {
    return this.#pay(this.#debtsOf(path));
  }

  async #pay(debts: readonly Debt[]): Promise<readonly Payment[]> {
    const payments: Payment[] = [];
    for (const debt of debts) {
      const units = debt.unpaidUnits;
      if (units <= 0n) continue;
      // Noted before anything is waited for: nobody pays it twice.
      debt.unpaidUnits -= units;
      try {
        await this.#fill(debt.lane, units);
        payments.push({ peer: debt.peer, voucher: bytesOf(await this.#options.purse.owe(debt.lane, units)) });
      } catch (error) {
        debt.unpaidUnits += units;
        throw error;
      }
    }
    return payments;
  }

  /** Lanes are filled before they run dry. */
  async #fill(lane: PaidLane, units: bigint): Promise<void> {
    if (this.#isOpen(lane) && this.#options.purse.leftUnits(lane) >= units) return;
    const key = `${lane.host} ${lane.stage}`;
    const filling = this.#filling.get(key) ??
      this.#deposit(lane, units).finally(() => this.#filling.delete(key));
    this.#filling.set(key, filling);
    await filling;
  }

  async #deposit(lane: PaidLane, units: bigint): Promise<void> {
    const { purse, ledger, payer, depositUnits } = this.#options;
    const { host, model, stage } = lane;
    const name = { payer, host, model, stage };
    purse.noteLane(lane, await ledger.laneOf(name));
    if (purse.leftUnits(lane) >= units) return;
    await ledger.deposit(host, model, stage, units > depositUnits ? units : depositUnits);
    purse.noteLane(lane, await ledger.laneOf(name));
  }

  #isOpen(lane: PaidLane): boolean {
    return this.#options.purse.leftUnits(lane) > 0n;
  }

  /** Hosts that cost nothing are owed nothing. */
  #debtsOf(path: readonly PeerId[]): Debt[] {
    return path.flatMap((peer, stage) => {
      const key = `${peer} ${stage}`;
      const known = this.#debts.get(key);
      if (known !== undefined) return [known];
      const priceUnits = this.#prices.get(peer) ?? 0n;
      const host = this.#options.payeeOf(peer, stage);
      if (priceUnits === 0n || host === undefined) return [];
      if (this.#debts.size >= PAYING_HOMES_MAX) this.#debts.delete(this.#debts.keys().next().value!);
      const lane = { host, model: this.#options.model, stage };
      const debt = { peer, lane, priceUnits, unpaidUnits: 0n };
      this.#debts.set(key, debt);
      return [debt];
    });
  }
}

function bytesOf({ cumulativeUnits, ...rest }: SignedVoucher): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ ...rest, cumulativeUnits: `${cumulativeUnits}` }));
}

/** What a stranger calls a voucher; the book judges it. */
function voucherIn(bytes: Uint8Array): unknown {
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes));
    const { cumulativeUnits } = value;
    return /^\d{1,39}$/.test(cumulativeUnits)
      ? { ...value, cumulativeUnits: BigInt(cumulativeUnits) }
      : value;
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
    return undefined;
  }
}
