/**
 * A way to a chain: JSON-RPC through ethers, each question bounded in time, and
 * its many ways to say no brought down to a few. It repeats nothing by itself.
 */

import { FetchRequest, isError, JsonRpcProvider } from "ethers";

/** Asks a chain. */
export interface Chain {
  /** @throws {ChainError} whatever goes wrong. */
  ask<T>(method: string, params: readonly unknown[]): Promise<T>;
  close(): void;
}

/** What a chain may have against a question. */
export type ChainTrouble =
  /** It did not answer, or not to the point: whether it has heard is unknown. */
  | "down"
  /** The contract refused; see `data`. */
  | "reverted"
  | "unfunded"
  /** Another transaction has this place in the account's order, for good. */
  | "nonce used"
  /** Another transaction waits in this place. */
  | "underpriced"
  /** It has this very transaction already. */
  | "known";

/** A question to a chain failed. */
export class ChainError extends Error {
  /** Tells it from a bug. */
  override name = "ChainError";
  readonly trouble: ChainTrouble;
  /** What the contract returned with its refusal, `0x…`. */
  readonly data: string;

  constructor(trouble: ChainTrouble, message: string, data = "0x") {
    super(message);
    this.trouble = trouble;
    this.data = data;
  }
}

/** A chain that hasn't answered for so long is down. */
const ANSWER_LIMIT_MS = 10_000;

/** What nodes say in words only. */
const WORDS: readonly (readonly [RegExp, ChainTrouble])[] = [
  [/already (known|imported)/i, "known"],
  [/nonce (is )?too low|nonce has already been used/i, "nonce used"],
  [/underpriced/i, "underpriced"],
  [/insufficient funds/i, "unfunded"],
  [/execution reverted/i, "reverted"],
];

/** The chain that answers at an address. */
export function connectChain(url: string, chainId: number): Chain {
  const request = new FetchRequest(url);
  request.timeout = ANSWER_LIMIT_MS;
  const provider = new JsonRpcProvider(request, chainId, {
    staticNetwork: true,
    // Its cache of a quarter of a second is longer than a local chain's blocks are apart.
    cacheTimeout: -1,
    batchMaxCount: 1,
  });
  return {
    async ask(method, params) {
      try {
        return await provider.send(method, [...params]);
      } catch (error) {
        throw chainError(method, error);
      }
    },
    close: () => provider.destroy(),
  };
}

/** What is meant by an error of ethers, or of the node behind it. */
export function chainError(method: string, error: unknown): ChainError {
  const words = `${message(error)} ${message(nested(error))}`;
  const trouble = isError(error, "CALL_EXCEPTION")
    ? "reverted"
    : isError(error, "INSUFFICIENT_FUNDS")
    ? "unfunded"
    : isError(error, "NONCE_EXPIRED")
    ? "nonce used"
    : isError(error, "REPLACEMENT_UNDERPRICED")
    ? "underpriced"
    : WORDS.find(([pattern]) => pattern.test(words))?.[1] ?? "down";
  const data = isError(error, "CALL_EXCEPTION") ? error.data ?? "0x" : "0x";
  return new ChainError(trouble, `Cannot ${method}: ${words.trim().slice(0, 300)}`, data);
}

function nested(error: unknown): unknown {
  return typeof error === "object" && error !== null && "error" in error ? error.error : undefined;
}

function message(error: unknown): string {
  return typeof error === "object" && error !== null && "message" in error ? String(error.message) : "";
}
