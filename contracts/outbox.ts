/**
 * Sends an account's transactions, one after the other, each exactly once. What
 * was signed is on disk before the chain hears of it, so that a crash at any
 * moment leads to the same transaction again and never to a second one; a call
 * that is made again after a crash, just as it was, is the one that was under way.
 * A caller that crashes between the end and noting it can't be helped from here:
 * it has to look at the chain, as the ledger's calls do that may be repeated.
 *
 * It knows no contracts, and does not decide what to do about a refusal.
 */

import { Transaction, type Wallet } from "ethers";
import { z } from "zod";
import { type Chain, ChainError } from "./chain.ts";
import { type LedgerClock, pause } from "./clock.ts";
import type { Journal } from "./journal.ts";
import { LedgerError } from "./ledger.ts";

/** What a transaction asks of a contract. */
export interface OutgoingCall {
  /** Missing where a contract is deployed. */
  readonly to?: string;
  readonly data: string;
}

/** What a transaction did. */
export interface Outcome {
  readonly block: number;
  readonly gasUsed: bigint;
}

/** What an outbox is made of. */
export interface OutboxOptions {
  readonly chain: Chain;
  readonly chainId: number;
  readonly wallet: Wallet;
  readonly journal: Journal;
  readonly clock: LedgerClock;
  /** Blocks that a transaction must be deep before it counts: what may be reorganised. Default: 1. */
  readonly confirmations?: number;
  /** How long a chain that is silent, or passes a transaction over, is waited for. Default: two minutes. */
  readonly patienceMs?: number;
  /** How often the chain is asked. Default: 100 ms. */
  readonly pollMs?: number;
  /** Ends waiting. */
  readonly signal?: AbortSignal;
}

/** One transaction, and each form in which it was signed: the later ones pay more. */
interface Pending {
  readonly to?: string;
  readonly data: string;
  readonly nonce: number;
  readonly gasLimit: string;
  readonly attempts: readonly { readonly hash: string; readonly raw: string }[];
}

interface Book {
  readonly pending?: Pending;
  /** The latest that are final: to be sent again should the chain forget them. */
  readonly recent: readonly string[];
}

const hexSchema = z.string().regex(/^0x[0-9a-fA-F]*$/);
const bookSchema: z.ZodType<Book> = z.strictObject({
  pending: z.strictObject({
    to: hexSchema.optional(),
    data: hexSchema,
    nonce: z.int().min(0),
    gasLimit: z.string().regex(/^\d+$/),
    attempts: z.array(z.strictObject({ hash: hexSchema, raw: hexSchema })).min(1),
  }).optional(),
  recent: z.array(hexSchema),
});

const PATIENCE_MS = 120_000;
const POLL_MS = 100;
/** Between two questions to a chain that is down. */
const BACKOFF_MS_MAX = 5_000;
/** So many polls without a block, and the transaction is sent once more. */
const POLLS_PER_BROADCAST = 20;
/** So many broadcasts, and it pays more. */
const BROADCASTS_PER_BUMP = 5;
/** Nodes take a replacement that pays a tenth more. */
const BUMP_PERCENT = 125n;
/** State may change between the estimate and the block. */
const GAS_PERCENT = 130n;
const GAS_DOUBLINGS_MAX = 2;
const RECENT_MAX = 8;
const DEFAULT_TIP = 1_000_000_000n;

/** An account's transactions. */
export class Outbox {
  readonly address: string;
  readonly #options: Required<Omit<OutboxOptions, "signal">> & { readonly signal?: AbortSignal };
  /** Ends when all that was asked for before has ended. */
  #last: Promise<unknown> = Promise.resolve();
  #book: Book | undefined;

  constructor(options: OutboxOptions) {
    this.#options = { confirmations: 1, patienceMs: PATIENCE_MS, pollMs: POLL_MS, ...options };
    this.address = options.wallet.address;
  }

  /**
   * Sends a call once everything before it is through, and returns when it is final.
   *
   * @throws {LedgerError} `unfunded` or `down`.
   * @throws {ChainError} `reverted`, with the contract's words.
   */
  send(call: OutgoingCall): Promise<Outcome> {
    const result = this.#last.then(() => this.#send(call));
    this.#last = result.catch(() => {});
    return result;
  }

  /** Its next place in the account's order. */
  nonce(): Promise<number> {
    return this.#nonceAt("latest");
  }

  async #nonceAt(block: string): Promise<number> {
    return Number(await this.#ask<string>("eth_getTransactionCount", [this.address, block]));
  }

  async #send(call: OutgoingCall): Promise<Outcome> {
    const { pending } = await this.#load();
    if (pending !== undefined) {
      const same = pending.to === call.to && pending.data === call.data;
      // Somebody else's refusal is not this call's; that somebody is gone.
      const earlier = await this.#settle(pending).catch((error) => {
        if (same || !(error instanceof ChainError)) throw error;
      });
      if (same && earlier !== undefined) return earlier;
    }
    let gasLimit = await this.#estimate(call);
    for (let doublings = 0;; doublings++) {
      const fresh = await this.#sign({ ...call, nonce: await this.nonce(), gasLimit, attempts: [] });
      try {
        return await this.#settle(fresh);
      } catch (error) {
        if (!(error instanceof OutOfGas) || doublings === GAS_DOUBLINGS_MAX) throw error;
        gasLimit = `${BigInt(gasLimit) * 2n}`;
      }
    }
  }

  /** Sends a transaction that is in the book until it is final. */
  async #settle(sent: Pending): Promise<Outcome> {
    const { pollMs, confirmations, patienceMs, clock, signal } = this.#options;
    let pending = sent;
    let broadcasts = 0;
    let waitedMs = 0;
    for (let polls = 0;; polls++) {
      if (polls % POLLS_PER_BROADCAST === 0) {
        if (broadcasts > 0 && broadcasts % BROADCASTS_PER_BUMP === 0) pending = await this.#sign(pending);
        await this.#broadcast(pending);
        broadcasts++;
      }
      // In this order: a receipt that is missing after the place was taken for good will not come. One that was
      // taken in a younger block may be free again already, and our transaction come after all.
      const head = Number(await this.#ask<string>("eth_blockNumber", []));
      const final = Math.max(0, head - confirmations + 1);
      const settled = await this.#nonceAt(`0x${final.toString(16)}`);
      const receipt = await this.#receipt(pending);
      if (receipt !== undefined) {
        if (receipt.block <= final) return await this.#finish(pending, receipt);
      } else if (settled > pending.nonce) {
        // Another transaction of this account has taken the place; ours never happens there.
        pending = await this.#sign({ ...pending, nonce: await this.nonce(), attempts: [] });
        polls = -1;
        continue;
      } else if (await this.nonce() < pending.nonce) {
        // The chain has forgotten what was final.
        for (const raw of (await this.#load()).recent) await this.#push(raw);
      }
      if (waitedMs >= patienceMs) {
        throw new LedgerError(
          "down",
          `Cannot finish transaction ${
            pending.attempts.at(-1)!.hash
          }: no block has taken it for ${waitedMs} ms`,
        );
      }
      await pause(clock, pollMs, signal);
      waitedMs += pollMs;
    }
  }

  async #finish(pending: Pending, receipt: Receipt): Promise<Outcome> {
    const { raw } = pending.attempts.find(({ hash }) => hash === receipt.hash)!;
    const { recent } = await this.#load();
    await this.#save({ recent: [...recent, raw].slice(-RECENT_MAX) });
    const { ok, block, gasUsed } = receipt;
    if (ok) return { block, gasUsed };
    if (gasUsed * 100n >= BigInt(pending.gasLimit) * 98n) throw new OutOfGas(pending);
    // The receipt doesn't say why; the same call in the same state does, and throws.
    await this.#ask("eth_call", [this.#request(pending), `0x${(block - 1).toString(16)}`]);
    throw new ChainError("reverted", `Cannot send transaction ${receipt.hash}: it was reverted in its block`);
  }

  /** Signs a transaction, or signs it again to pay more, and writes it down. */
  async #sign(pending: Pending): Promise<Pending> {
    const { wallet, chainId } = this.#options;
    const { to, data, nonce, gasLimit, attempts } = pending;
    const before = attempts.at(-1) === undefined ? undefined : Transaction.from(attempts.at(-1)!.raw);
    const now = await this.#fees();
    const more = (earlier: bigint | null | undefined, fresh: bigint) => {
      const bumped = (earlier ?? 0n) * BUMP_PERCENT / 100n;
      return bumped > fresh ? bumped : fresh;
    };
    const raw = await wallet.signTransaction({
      type: 2,
      ...{ chainId, to, data, nonce, gasLimit },
      maxPriorityFeePerGas: more(before?.maxPriorityFeePerGas, now.tip),
      maxFeePerGas: more(before?.maxFeePerGas, now.most),
    });
    const hash = Transaction.from(raw).hash!;
    const signed = { ...pending, attempts: [...attempts, { hash, raw }] };
    await this.#save({ recent: (await this.#load()).recent, pending: signed });
    return signed;
  }

  async #broadcast(pending: Pending): Promise<void> {
    const trouble = await this.#push(pending.attempts.at(-1)!.raw);
    // An earlier form may wait somewhere, and be taken once there is money.
    if (trouble !== "unfunded" || pending.attempts.length > 1) return;
    if (await this.#receipt(pending) !== undefined) return;
    await this.#save({ recent: (await this.#load()).recent });
    throw new LedgerError("unfunded", `Cannot send a transaction: ${this.address} can't pay for its gas`);
  }

  /** Hands a transaction to the chain; what it has against it shows elsewhere, but for money. */
  async #push(raw: string): Promise<string | undefined> {
    try {
      await this.#ask("eth_sendRawTransaction", [raw]);
      return undefined;
    } catch (error) {
      if (error instanceof ChainError) return error.trouble;
      throw error;
    }
  }

  async #receipt(pending: Pending): Promise<Receipt | undefined> {
    for (const { hash } of pending.attempts) {
      const found = await this.#ask<RawReceipt | null>("eth_getTransactionReceipt", [hash]);
      if (found === null) continue;
      const { status, blockNumber, gasUsed } = found;
      return { hash, ok: BigInt(status) === 1n, block: Number(blockNumber), gasUsed: BigInt(gasUsed) };
    }
    return undefined;
  }

  async #estimate(call: OutgoingCall): Promise<string> {
    const gas = await this.#ask<string>("eth_estimateGas", [this.#request(call)]);
    return `${BigInt(gas) * GAS_PERCENT / 100n}`;
  }

  #request({ to, data }: OutgoingCall): Record<string, string> {
    return { from: this.address, ...to === undefined ? {} : { to }, data };
  }

  async #fees(): Promise<{ tip: bigint; most: bigint }> {
    const block = await this.#ask<{ baseFeePerGas?: string }>("eth_getBlockByNumber", ["latest", false]);
    const tip = await this.#ask<string>("eth_maxPriorityFeePerGas", []).then(BigInt, (error) => {
      // Not every chain has an opinion.
      if (error instanceof ChainError) return DEFAULT_TIP;
      throw error;
    });
    return { tip, most: 2n * BigInt(block.baseFeePerGas ?? 0) + tip };
  }

  /** Asks until the chain answers, or patience ends. */
  async #ask<T>(method: string, params: readonly unknown[]): Promise<T> {
    const { chain, clock, patienceMs, pollMs, signal } = this.#options;
    let delayMs = pollMs;
    for (let waitedMs = 0;; waitedMs += delayMs, delayMs = Math.min(2 * delayMs, BACKOFF_MS_MAX)) {
      try {
        return await chain.ask<T>(method, params);
      } catch (error) {
        if (!(error instanceof ChainError) || error.trouble !== "down") throw error;
        if (waitedMs >= patienceMs) throw new LedgerError("down", error.message);
      }
      await pause(clock, delayMs, signal);
    }
  }

  async #load(): Promise<Book> {
    if (this.#book !== undefined) return this.#book;
    const text = await this.#options.journal.load();
    // Who can't read what was under way would send it twice.
    return this.#book = text === undefined ? { recent: [] } : bookSchema.parse(JSON.parse(text));
  }

  async #save(book: Book): Promise<void> {
    await this.#options.journal.save(JSON.stringify(book));
    this.#book = book;
  }
}

/** A transaction had less gas than it needed. */
class OutOfGas extends ChainError {
  override name = "OutOfGas";

  constructor({ gasLimit }: Pending) {
    super("reverted", `Cannot finish a transaction: ${gasLimit} gas was not enough`);
  }
}

interface Receipt extends Outcome {
  readonly hash: string;
  readonly ok: boolean;
}

interface RawReceipt {
  readonly status: string;
  readonly blockNumber: string;
  readonly gasUsed: string;
}
