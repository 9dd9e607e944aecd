/**
 * Signatures of secp256k1 over digests, in the compact form that the contracts
 * take. It uses the native library where the platform has it, and the one of
 * `ethers` elsewhere, which is ten times slower. It hashes nothing but public
 * keys, and keeps no key but in its signers.
 */

import { createRequire } from "node:module";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { computeAddress, Signature, SigningKey } from "ethers";
import { bytesOf, hex } from "./typed_data.ts";

/** Signs digests with one key. */
export interface DigestSigner {
  /** `0x…`, lower case. */
  readonly address: string;
  /** 64 bytes, hex, see `signatureSchema`. */
  sign(digest: Uint8Array): string;
}

/** The native library, as far as it is used. */
interface Native {
  privateKeyVerify(key: Uint8Array): boolean;
  publicKeyCreate(key: Uint8Array, compressed: boolean): Uint8Array;
  ecdsaSign(digest: Uint8Array, key: Uint8Array): { signature: Uint8Array; recid: number };
  ecdsaRecover(signature: Uint8Array, recid: number, digest: Uint8Array, compressed: boolean): Uint8Array;
}

/** Makes and reads signatures: native or not. */
export interface Curve {
  /** 65 bytes. */
  publicKey(key: Uint8Array): Uint8Array;
  /** 64 bytes, and which of two points. */
  sign(digest: Uint8Array, key: Uint8Array): { readonly signature: Uint8Array; readonly parity: number };
  /** The public key, 65 bytes; `undefined` if no key can have made it. */
  recover(digest: Uint8Array, signature: Uint8Array, parity: number): Uint8Array | undefined;
}

function nativeCurve(native: Native): Curve {
  return {
    publicKey: (key) => native.publicKeyCreate(key, false),
    sign: (digest, key) => {
      const { signature, recid } = native.ecdsaSign(digest, key);
      return { signature, parity: recid };
    },
    recover: (digest, signature, parity) => {
      try {
        return native.ecdsaRecover(signature, parity, digest, false);
      } catch (error) {
        // That is how it says no; anything else is not an error of its own.
        if (error instanceof Error && !(error instanceof TypeError)) return undefined;
        throw error;
      }
    },
  };
}

/** The curve in JavaScript. */
export const PORTABLE_CURVE: Curve = {
  publicKey: (key) => bytesOf(new SigningKey(key).publicKey),
  sign: (digest, key) => {
    const { r, s, yParity } = new SigningKey(key).sign(digest);
    const signature = new Uint8Array(64);
    signature.set(bytesOf(r));
    signature.set(bytesOf(s), 32);
    return { signature, parity: yParity };
  },
  recover: (digest, signature, parity) => {
    const [r, s] = [hex(signature.subarray(0, 32)), hex(signature.subarray(32))];
    try {
      return bytesOf(SigningKey.recoverPublicKey(digest, Signature.from({ r, s, yParity: parity as 0 | 1 })));
    } catch (error) {
      if (error instanceof Error) return undefined;
      throw error;
    }
  },
};

function loadNative(): Native | undefined {
  try {
    // Not the package's front door, which falls back in silence to something slower than what we have.
    return createRequire(import.meta.url)("secp256k1/bindings.js") as Native;
  } catch (error) {
    // There is none for this platform, or this process may not load it.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

const native = loadNative();

/** The native curve; `undefined` where there is none. */
export const NATIVE_CURVE: Curve | undefined = native === undefined ? undefined : nativeCurve(native);

const DEFAULT_CURVE = NATIVE_CURVE ?? PORTABLE_CURVE;

/** Half of the curve's order: the contracts take no greater s, so that a signature has one form only. */
const HALF_ORDER = bytesOf("0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");
const PARITY_BIT = 0x80;

/**
 * A signer of one key.
 *
 * @param key 32 bytes; kept as long as the signer is.
 * @throws {Error} if it is no key.
 */
export function digestSigner(key: Uint8Array, curve: Curve = DEFAULT_CURVE): DigestSigner {
  return {
    address: addressOf(curve.publicKey(key)),
    sign(digest) {
      const { signature, parity } = curve.sign(digest, key);
      if (parity === 1) signature[32] |= PARITY_BIT;
      return hex(signature);
    },
  };
}

/**
 * Who has signed a digest, lower case; `undefined` if nobody can have.
 *
 * It recovers the key even where it is known: a signature that only verifies may name the wrong point, and the
 * contract, which recovers, would not pay it.
 */
export function signerOf(
  digest: Uint8Array,
  signature: string,
  curve: Curve = DEFAULT_CURVE,
): string | undefined {
  const bytes = bytesOf(signature);
  if (bytes.length !== 64) return undefined;
  const parity = bytes[32] >> 7;
  bytes[32] &= ~PARITY_BIT;
  if (isGreater(bytes.subarray(32), HALF_ORDER)) return undefined;
  const key = curve.recover(digest, bytes, parity);
  return key === undefined ? undefined : addressOf(key);
}

/**
 * The account of a public key, lower case.
 *
 * @param publicKey 33 or 65 bytes.
 * @throws {Error} if it is none.
 */
export function accountOf(publicKey: Uint8Array): string {
  return computeAddress(hex(publicKey)).toLowerCase();
}

/** A compact signature in the long form: 65 bytes, hex. */
export function longSignature(signature: string): string {
  return Signature.from(signature).serialized;
}

function isGreater(left: Uint8Array, right: Uint8Array): boolean {
  for (let at = 0; at < left.length; at++) {
    if (left[at] !== right[at]) return left[at] > right[at];
  }
  return false;
}

function addressOf(publicKey: Uint8Array): string {
  return hex(keccak_256(publicKey.subarray(1)).subarray(12));
}
