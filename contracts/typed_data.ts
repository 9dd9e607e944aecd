/**
 * What is signed off the chain, and how it is hashed (EIP-712). Every digest binds
 * the chain and the contract that it is meant for. It holds no keys, and is made
 * for tens of thousands of hashes a second: words are written straight into one
 * buffer.
 *
 * Source: https://eips.ethereum.org/EIPS/eip-712
 */

import { Buffer } from "node:buffer";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { z } from "zod";

/** 20 bytes, hex, any case. */
export const addressSchema: z.ZodType<string> = z.string().regex(/^0x[0-9a-fA-F]{40}$/);
/** 32 bytes, hex. */
export const wordSchema: z.ZodType<string> = z.string().regex(/^0x[0-9a-f]{64}$/);
/** 64 bytes, hex: r, then s with the parity in its first bit (EIP-2098). */
export const signatureSchema: z.ZodType<string> = z.string().regex(/^0x[0-9a-f]{128}$/);
/** An amount of the token's smallest unit. */
export const unitsSchema: z.ZodType<bigint> = z.bigint().min(0n).lt(1n << 128n);
/** A stage of a model. */
export const stageSchema: z.ZodType<number> = z.int().min(0).lt(2 ** 32);
/** Seconds since the Unix epoch. */
export const secondsSchema: z.ZodType<number> = z.int().min(0);

/** The contract that a signature is meant for. */
export interface Domain {
  /** What the contract calls itself: `Murmuration InferenceEscrow`. */
  readonly name: string;
  /** Of the contract. */
  readonly version: string;
  /** Of the chain. */
  readonly chainId: number;
  /** Address of the contract. */
  readonly contract: string;
}

/** The promise to pay a host so much in all for serving a stage. The last one counts. */
export interface Voucher {
  /** Whose money it is. */
  readonly payer: string;
  /** The operator, not the key that it serves with. */
  readonly host: string;
  /** What the model is called on the ledger, `0x…`. */
  readonly model: string;
  /** Of the model, from 0. */
  readonly stage: number;
  /** When it can no longer be redeemed. */
  readonly expirySeconds: number;
  /** All that was ever owed on this lane. */
  readonly cumulativeUnits: bigint;
}

/** One promise to every stage of a path: a Merkle root over what is owed to each. */
export interface PathVoucher {
  readonly payer: string;
  readonly root: string;
  readonly expirySeconds: number;
}

/** What a host says that it has computed, with roots that a dispute can start from. */
export interface Receipt {
  readonly request: string;
  readonly model: string;
  readonly stage: number;
  readonly host: string;
  /** Who gave it the input. */
  readonly previous: string;
  readonly inRoot: string;
  readonly outRoot: string;
  readonly step: number;
  readonly tokens: number;
}

/** A signer's agreement to act for an operator. */
export interface Consent {
  readonly owner: string;
  readonly model: string;
  readonly peerIdHash: string;
}

/** Shape and bounds of a stranger's voucher. */
export const voucherSchema: z.ZodType<Voucher & { readonly signature: string }> = z.strictObject({
  payer: addressSchema,
  host: addressSchema,
  model: wordSchema,
  stage: stageSchema,
  expirySeconds: secondsSchema,
  cumulativeUnits: unitsSchema,
  signature: signatureSchema,
});

const WORD_BYTES = 32;
const WORD_MASK = (1n << 64n) - 1n;

/** A `string` stands as the hash of its text. */
type Field<T> = readonly [
  type: "address" | "bytes32" | "string" | `uint${number}`,
  name: string,
  key: keyof T & string,
];

/** A kind of message: its type's hash, and how a value's words are written. */
class Struct<T> {
  /** As Solidity spells it. */
  readonly type: string;
  readonly #fields: readonly Field<T>[];
  readonly #words: Buffer;

  constructor(name: string, fields: readonly Field<T>[]) {
    this.type = `${name}(${fields.map(([type, name]) => `${type} ${name}`).join(",")})`;
    this.#fields = fields;
    this.#words = Buffer.alloc(WORD_BYTES * (1 + fields.length));
    this.#words.set(keccak_256(new TextEncoder().encode(this.type)));
  }

  /** The struct's hash; the value's fields must be within their types. */
  hash(value: T): Uint8Array {
    let at = WORD_BYTES;
    for (const [type, , key] of this.#fields) {
      writeWord(this.#words, at, type, value[key] as string | number | bigint);
      at += WORD_BYTES;
    }
    return keccak_256(this.#words);
  }
}

function writeWord(into: Buffer, at: number, type: string, value: string | number | bigint): void {
  if (type === "string") {
    into.set(keccak_256(new TextEncoder().encode(value as string)), at);
    return;
  }
  if (typeof value === "string") {
    const bytes = type === "address" ? 20 : WORD_BYTES;
    into.fill(0, at, at + WORD_BYTES - bytes);
    const written = into.write(value.slice(2), at + WORD_BYTES - bytes, bytes, "hex");
    if (written !== bytes || value.length !== 2 + 2 * bytes || !value.startsWith("0x")) {
      throw new TypeError(`Cannot hash ${type}: ${value} is no hex of ${bytes} bytes`);
    }
    return;
  }
  const bits = Number(type.slice("uint".length));
  const number = BigInt(value);
  if (number < 0n || number >> BigInt(bits) !== 0n) {
    throw new RangeError(`Cannot hash ${type}: ${value} does not fit`);
  }
  into.fill(0, at, at + 16);
  into.writeBigUInt64BE(number >> 64n, at + 16);
  into.writeBigUInt64BE(number & WORD_MASK, at + 24);
}

const DOMAIN = new Struct<Domain>("EIP712Domain", [
  ["string", "name", "name"],
  ["string", "version", "version"],
  ["uint256", "chainId", "chainId"],
  ["address", "verifyingContract", "contract"],
]);

const VOUCHER = new Struct<Voucher>("Voucher", [
  ["address", "payer", "payer"],
  ["address", "host", "host"],
  ["bytes32", "model", "model"],
  ["uint32", "stage", "stage"],
  ["uint64", "expiry", "expirySeconds"],
  ["uint128", "cumulative", "cumulativeUnits"],
]);

const PATH_VOUCHER = new Struct<PathVoucher>("PathVoucher", [
  ["address", "payer", "payer"],
  ["bytes32", "root", "root"],
  ["uint64", "expiry", "expirySeconds"],
]);

const RECEIPT = new Struct<Receipt>("Receipt", [
  ["bytes32", "request", "request"],
  ["bytes32", "model", "model"],
  ["uint32", "stage", "stage"],
  ["address", "host", "host"],
  ["address", "prev", "previous"],
  ["bytes32", "inRoot", "inRoot"],
  ["bytes32", "outRoot", "outRoot"],
  ["uint64", "step", "step"],
  ["uint32", "tokens", "tokens"],
]);

const CONSENT = new Struct<Consent>("Consent", [
  ["address", "owner", "owner"],
  ["bytes32", "model", "model"],
  ["bytes32", "peerIdHash", "peerIdHash"],
]);

/** Hashes messages for one contract on one chain. */
export class TypedData {
  readonly #prefixed = new Uint8Array(2 + 2 * WORD_BYTES);

  constructor(domain: Domain) {
    this.#prefixed.set([0x19, 0x01]);
    this.#prefixed.set(DOMAIN.hash(domain), 2);
  }

  /** What a payer signs. */
  voucher(voucher: Voucher): Uint8Array {
    return this.#digest(VOUCHER.hash(voucher));
  }

  /** What a payer signs for a whole path. */
  pathVoucher(voucher: PathVoucher): Uint8Array {
    return this.#digest(PATH_VOUCHER.hash(voucher));
  }

  /** What a host signs, and its neighbours acknowledge. */
  receipt(receipt: Receipt): Uint8Array {
    return this.#digest(RECEIPT.hash(receipt));
  }

  /** What a signer signs for its operator. */
  consent(consent: Consent): Uint8Array {
    return this.#digest(CONSENT.hash(consent));
  }

  #digest(structHash: Uint8Array): Uint8Array {
    this.#prefixed.set(structHash, 2 + WORD_BYTES);
    return keccak_256(this.#prefixed);
  }
}

/** Bytes as `0x…`. */
export function hex(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`;
}

/** Bytes of `0x…`, whose shape was checked before. */
export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.slice(2), "hex"));
}
