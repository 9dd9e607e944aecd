/**
 * A payer's side of its vouchers: what it owes to each lane in all, on disk before
 * anybody hears of it, so that a payer that has crashed promises neither less than
 * it did nor the same twice. It decides no prices, and sends nothing.
 */

import { z } from "zod";
import { type Deployment, escrowDomain } from "./deployment.ts";
import type { Journal } from "./journal.ts";
import type { Lane, SignedVoucher } from "./ledger.ts";
import type { DigestSigner } from "./signing.ts";
import { TypedData } from "./typed_data.ts";

/** What a purse is made of. */
export interface VoucherPurseOptions {
  readonly deployment: Deployment;
  /** The payer's key. */
  readonly signer: DigestSigner;
  readonly journal: Journal;
  readonly epochMs: () => number;
  /** For so long a voucher can be redeemed. Default: a day. */
  readonly lifeSeconds?: number;
}

/** One stage of one host's. */
export interface PaidLane {
  readonly host: string;
  readonly model: string;
  readonly stage: number;
}

/** Lanes that one payer keeps: some 150 bytes each. */
export const PAID_LANES_MAX = 65_536;

const LIFE_SECONDS = 86_400;
const owedSchema = z.array(z.tuple([z.string(), z.string().regex(/^\d{1,39}$/).transform(BigInt)])).max(
  PAID_LANES_MAX,
);

/** What one payer owes. */
export class VoucherPurse {
  readonly #options: VoucherPurseOptions;
  readonly #data: TypedData;
  readonly #owed = new Map<string, bigint>();
  /** What lanes can pay in all, as the chain last said. */
  readonly #covers = new Map<string, bigint>();
  #last: Promise<unknown> = Promise.resolve();

  private constructor(options: VoucherPurseOptions) {
    this.#options = options;
    this.#data = new TypedData(escrowDomain(options.deployment));
  }

  /**
   * Opens the purse, with what was owed.
   *
   * @throws {Error} if the journal can't be read.
   */
  static async open(options: VoucherPurseOptions): Promise<VoucherPurse> {
    const purse = new VoucherPurse(options);
    const text = await options.journal.load();
    if (text === undefined) return purse;
    for (const [key, units] of owedSchema.parse(JSON.parse(text))) purse.#owed.set(key, units);
    return purse;
  }

  /** Notes what the chain says of a lane: what was redeemed was owed, even if nobody here remembers. */
  noteLane(name: PaidLane, { depositUnits, thawingUnits, redeemedUnits }: Lane): void {
    const key = nameOf(name);
    this.#covers.set(key, redeemedUnits + depositUnits - thawingUnits);
    if (redeemedUnits > this.owedUnits(name)) this.#owed.set(key, redeemedUnits);
  }

  /** What is owed to a lane in all. */
  owedUnits(name: PaidLane): bigint {
    return this.#owed.get(nameOf(name)) ?? 0n;
  }

  /** What may still be promised to a lane before it has to be filled. */
  leftUnits(name: PaidLane): bigint {
    return (this.#covers.get(nameOf(name)) ?? 0n) - this.owedUnits(name);
  }

  /**
   * Owes a lane so much more. Returns once that is on disk.
   *
   * @throws {RangeError} if the lane does not hold as much, or there are too many lanes.
   */
  async owe(name: PaidLane, units: bigint): Promise<SignedVoucher> {
    const key = nameOf(name);
    const left = this.leftUnits(name);
    if (units <= 0n || units > left) {
      throw new RangeError(`Cannot promise ${units} units to ${name.host}: the lane has ${left} left`);
    }
    if (!this.#owed.has(key) && this.#owed.size >= PAID_LANES_MAX) {
      throw new RangeError(`Cannot promise anything to ${name.host}: there are ${this.#owed.size} lanes`);
    }
    const cumulativeUnits = this.owedUnits(name) + units;
    this.#owed.set(key, cumulativeUnits);
    await this.#save();
    const { signer, epochMs, lifeSeconds = LIFE_SECONDS } = this.#options;
    const expirySeconds = Math.floor(epochMs() / 1000) + lifeSeconds;
    const { host, model, stage } = name;
    const voucher = { payer: signer.address, host, model, stage, expirySeconds, cumulativeUnits };
    return { ...voucher, signature: signer.sign(this.#data.voucher(voucher)) };
  }

  /** One write after the other, each with all that is owed by then. */
  #save(): Promise<void> {
    const saving = this.#last.then(() =>
      this.#options.journal.save(JSON.stringify([...this.#owed].map(([key, units]) => [key, `${units}`])))
    );
    this.#last = saving.catch(() => {});
    return saving;
  }
}

function nameOf({ host, model, stage }: PaidLane): string {
  return `${host.toLowerCase()} ${model} ${stage}`;
}
