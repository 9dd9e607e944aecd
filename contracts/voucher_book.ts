/**
 * A host's vouchers: of each lane the last good one, on disk until it is redeemed.
 * It says how much a payer has covered, and which vouchers should be redeemed now.
 * It serves nobody and sends nothing; a voucher that it has is as good as money
 * only as far as the chain last said that there is money.
 */

import { z } from "zod";
import { type Deployment, escrowDomain } from "./deployment.ts";
import type { Journal } from "./journal.ts";
import type { Lane, SignedVoucher } from "./ledger.ts";
import { signerOf } from "./signing.ts";
import { TypedData, voucherSchema } from "./typed_data.ts";

/** Why a voucher was turned away. */
export type VoucherFault =
  /** It is no voucher. */
  | "malformed"
  /** It is for another host. */
  | "not ours"
  /** It ends too soon to be redeemed with certainty. */
  | "expiring"
  /** Its payer has not signed it for this contract on this chain. */
  | "forged"
  /** It promises no more than an earlier one. */
  | "not rising"
  /** It promises more than the lane holds. */
  | "uncovered"
  /** There are too many lanes. */
  | "full";

/** What a book is made of. */
export interface VoucherBookOptions {
  readonly deployment: Deployment;
  /** The operator whose vouchers these are. */
  readonly host: string;
  readonly journal: Journal;
  readonly epochMs: () => number;
  /** A voucher that ends sooner is not taken, and one that is kept so long is due. Default: an hour. */
  readonly redeemBeforeSeconds?: number;
}

/** One stage of one payer's. */
export interface BookedLane {
  readonly payer: string;
  readonly model: string;
  readonly stage: number;
}

/** What the journal holds of a lane. */
interface Entry {
  readonly voucher: SignedVoucher;
  /** What the chain has paid, as far as is known. */
  readonly redeemedUnits: bigint;
}

/** Payers and stages that one host keeps vouchers of: some 400 bytes each. */
export const LANES_MAX = 4_096;
/** Vouchers of one transaction: beyond that they hardly become cheaper. */
export const BATCH_MAX = 32;

const REDEEM_BEFORE_SECONDS = 3_600;

const units = z.string().regex(/^\d{1,39}$/).transform(BigInt);
const entriesSchema = z.array(z.tuple([z.record(z.string(), z.unknown()), units, units])).max(LANES_MAX);

/** The vouchers of one host. */
export class VoucherBook {
  readonly #data: TypedData;
  readonly #options: VoucherBookOptions;
  readonly #redeemBeforeSeconds: number;
  readonly #entries = new Map<string, Entry>();
  /** What lanes have paid and can pay in all, as the chain last said. */
  readonly #covers = new Map<string, { readonly paidUnits: bigint; readonly allUnits: bigint }>();
  #saving: Promise<void> | undefined;
  #dirty = false;

  private constructor(options: VoucherBookOptions) {
    this.#options = { ...options, host: options.host.toLowerCase() };
    this.#redeemBeforeSeconds = options.redeemBeforeSeconds ?? REDEEM_BEFORE_SECONDS;
    this.#data = new TypedData(escrowDomain(options.deployment));
  }

  /**
   * Opens the book, with what was in it.
   *
   * @throws {Error} if the journal can't be read: what is in there is money.
   */
  static async open(options: VoucherBookOptions): Promise<VoucherBook> {
    const book = new VoucherBook(options);
    const text = await options.journal.load();
    if (text === undefined) return book;
    for (const [it, cumulativeUnits, redeemedUnits] of entriesSchema.parse(JSON.parse(text))) {
      const voucher = voucherSchema.parse({ ...it, cumulativeUnits });
      book.#entries.set(nameOf(voucher), { voucher, redeemedUnits });
    }
    return book;
  }

  /** Notes what the chain says of a lane; what thaws is not counted on. */
  noteLane(name: BookedLane, { depositUnits, thawingUnits, redeemedUnits }: Lane): void {
    const key = nameOf(name);
    if (!this.#covers.has(key) && this.#covers.size >= LANES_MAX) return;
    this.#covers.set(key, {
      paidUnits: redeemedUnits,
      allUnits: redeemedUnits + depositUnits - thawingUnits,
    });
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    if (redeemedUnits >= entry.voucher.cumulativeUnits) this.#entries.delete(key);
    else this.#entries.set(key, { ...entry, redeemedUnits });
    this.#dirty = true;
  }

  /**
   * Takes a stranger's voucher, if it is good.
   *
   * @returns by how much it raises what its payer has promised; or what is wrong with it. Call {@link saved}
   * before relying on it.
   */
  accept(stranger: unknown): bigint | VoucherFault {
    const { data: voucher } = voucherSchema.safeParse(stranger);
    if (voucher === undefined) return "malformed";
    if (voucher.host.toLowerCase() !== this.#options.host) return "not ours";
    const key = nameOf(voucher);
    const before = this.#entries.get(key);
    if (before === undefined && this.#entries.size >= LANES_MAX) return "full";
    if (voucher.expirySeconds < this.#nowSeconds() + this.#redeemBeforeSeconds) return "expiring";
    const floor = this.promisedUnits(voucher);
    if (voucher.cumulativeUnits <= floor) return "not rising";
    if (voucher.cumulativeUnits > (this.#covers.get(key)?.allUnits ?? 0n)) return "uncovered";
    // Last, as it is what costs most.
    if (signerOf(this.#data.voucher(voucher), voucher.signature) !== voucher.payer.toLowerCase()) {
      return "forged";
    }
    this.#entries.set(key, { voucher, redeemedUnits: before?.redeemedUnits ?? 0n });
    this.#dirty = true;
    return voucher.cumulativeUnits - floor;
  }

  /** What a payer has promised for a stage in all, or paid. */
  promisedUnits(name: BookedLane): bigint {
    const key = nameOf(name);
    const paid = this.#covers.get(key)?.paidUnits ?? 0n;
    const promised = this.#entries.get(key)?.voucher.cumulativeUnits ?? 0n;
    return promised > paid ? promised : paid;
  }

  /**
   * Vouchers to be redeemed, in batches of one stage each: those that end soon and those that would bring at
   * least so much; what else is there of the same stages goes with them as far as a batch has room.
   */
  due(atLeastUnits: bigint): readonly (readonly SignedVoucher[])[] {
    const soon = this.#nowSeconds() + 2 * this.#redeemBeforeSeconds;
    const stages = new Map<string, { readonly due: SignedVoucher[]; readonly rest: SignedVoucher[] }>();
    for (const { voucher, redeemedUnits } of this.#entries.values()) {
      const key = `${voucher.model} ${voucher.stage}`;
      const stage = stages.get(key) ?? { due: [], rest: [] };
      stages.set(key, stage);
      const worthwhile = voucher.cumulativeUnits - redeemedUnits >= atLeastUnits;
      (worthwhile || voucher.expirySeconds < soon ? stage.due : stage.rest).push(voucher);
    }
    const batches: SignedVoucher[][] = [];
    for (const { due, rest } of stages.values()) {
      for (let at = 0; at < due.length; at += BATCH_MAX) {
        batches.push([...due, ...rest].slice(at, at + BATCH_MAX));
      }
    }
    return batches;
  }

  /** Returns once everything that was accepted is on disk. Many calls share a write. */
  async saved(): Promise<void> {
    while (this.#dirty || this.#saving !== undefined) {
      this.#saving ??= this.#save();
      await this.#saving;
    }
  }

  async #save(): Promise<void> {
    this.#dirty = false;
    const entries = [...this.#entries.values()].map(({ voucher, redeemedUnits }) => {
      const { cumulativeUnits, ...rest } = voucher;
      return [rest, `${cumulativeUnits}`, `${redeemedUnits}`];
    });
    try {
      await this.#options.journal.save(JSON.stringify(entries));
    } catch (error) {
      this.#dirty = true;
      throw error;
    } finally {
      this.#saving = undefined;
    }
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.epochMs() / 1000);
  }
}

function nameOf({ payer, model, stage }: BookedLane): string {
  return `${payer.toLowerCase()} ${model} ${stage}`;
}
