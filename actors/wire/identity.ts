/**
 * Who a peer is: a secp256k1 key. Its peer id carries the public key inside, so
 * that whoever knows the id can check a signature without asking anybody.
 *
 * It does not hold money: the key that stakes is another one (see contracts),
 * which registers this one as its signer.
 */

import { generateKeyPair, privateKeyFromRaw } from "@libp2p/crypto/keys";
import type { PrivateKey, PublicKey } from "@libp2p/interface";
import { peerIdFromPrivateKey, peerIdFromString } from "@libp2p/peer-id";
import type { PeerId } from "../core/actor.ts";

/** Length of a secp256k1 private key, and of the file that holds one. */
const KEY_BYTES = 32;

/** Longest text that can be the id of a secp256k1 peer (53 characters, with room). */
const PEER_ID_CHARACTERS_MAX = 64;

/** A peer's key, and what it alone can do. */
export interface Identity {
  /** Text form of the peer id. */
  readonly peer: PeerId;
  /** What libp2p proves the id with. */
  readonly privateKey: PrivateKey;
  /**
   * Signs exactly these bytes (ECDSA over their SHA-256, DER).
   * Sign the bytes that travel: encoding an object twice need not give the same bytes.
   */
  sign(bytes: Uint8Array): Uint8Array;
}

/** A fresh identity, from the machine's own entropy: a key must never follow from a seed. */
export async function createIdentity(): Promise<Identity> {
  return identityOf(await generateKeyPair("secp256k1"));
}

/**
 * Reads an identity from a file of 32 raw bytes.
 *
 * @throws {Deno.errors.NotFound} if there is no such file.
 * @throws {TypeError} if the file does not hold a secp256k1 key.
 */
export async function loadIdentity(path: string): Promise<Identity> {
  const raw = await Deno.readFile(path);
  if (raw.byteLength !== KEY_BYTES) {
    throw new TypeError(
      `Cannot load identity from ${path}: a key is ${KEY_BYTES} bytes, found ${raw.byteLength}`,
    );
  }
  try {
    return identityOf(privateKeyFromRaw(raw));
  } catch (cause) {
    throw new TypeError(`Cannot load identity from ${path}: not a secp256k1 key`, { cause });
  }
}

/**
 * Writes an identity where only its owner can read it. Refuses to overwrite:
 * a lost key is a lost peer.
 *
 * @throws {Deno.errors.AlreadyExists} if the file is there.
 */
export async function saveIdentity(path: string, identity: Identity): Promise<void> {
  await Deno.writeFile(path, identity.privateKey.raw, { mode: 0o600, createNew: true });
}

/** Reads the identity at `path`, or makes one and writes it there. */
export async function loadOrCreateIdentity(path: string): Promise<Identity> {
  try {
    return await loadIdentity(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const identity = await createIdentity();
  await saveIdentity(path, identity);
  return identity;
}

/**
 * Whether `peer` signed exactly these bytes. Anything malformed is `false`, a
 * peer id without a secp256k1 key in it too.
 */
export function verify(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    const key = keyOf(peer);
    return key !== undefined && atOnce(key.verify(bytes, signature));
  } catch {
    // libp2p throws on malformed keys and signatures; all of them mean no.
    return false;
  }
}

/** The secp256k1 key that a peer's name carries: 33 bytes; `undefined` if it carries none. */
export function publicKeyOf(peer: PeerId): Uint8Array | undefined {
  return keyOf(peer)?.raw;
}

function keyOf(peer: PeerId): PublicKey | undefined {
  if (peer.length > PEER_ID_CHARACTERS_MAX) return undefined;
  try {
    const id = peerIdFromString(peer);
    return id.type === "secp256k1" ? id.publicKey : undefined;
  } catch {
    // libp2p throws on malformed names.
    return undefined;
  }
}

function identityOf(privateKey: PrivateKey): Identity {
  return {
    peer: peerIdFromPrivateKey(privateKey).toString(),
    privateKey,
    sign: (bytes) => atOnce(privateKey.sign(bytes)),
  };
}

/** The library's types allow a promise (browsers); on Deno the answer is there at once. */
function atOnce<T>(result: T | Promise<T>): T {
  if (result instanceof Promise) throw new TypeError("Cannot sign or verify: the key answers asynchronously");
  return result;
}
