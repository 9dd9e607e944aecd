/**
 * Keys that hold money, each in a file of its own: encrypted as wallets do (scrypt
 * and AES, version 3), readable for its owner alone, written whole or not at all.
 * It refuses to overwrite a key, and shows none.
 */

import { decryptKeystoreJson, encryptKeystoreJson, SigningKey, Wallet } from "ethers";
import { z } from "zod";
import { Failure, UsageError } from "./arguments.ts";

/** A key that was opened. */
export interface OpenedKey {
  /** `0x…`, lower case. */
  readonly address: string;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

const KEYSTORE_BYTES_MAX = 64 * 1024;
const keystoreSchema = z.object({ address: z.string().regex(/^(0x)?[0-9a-fA-F]{40}$/) });

/** A fresh key, from the machine's own entropy. */
export function createKey(): OpenedKey {
  return opened(Wallet.createRandom().privateKey);
}

/** @throws {UsageError} if the text is no key: 64 hexadecimal digits. */
export function readKey(text: string): OpenedKey {
  const digits = text.trim().replace(/^0x/, "");
  try {
    if (/^[0-9a-fA-F]{64}$/.test(digits)) return opened(new SigningKey(`0x${digits}`).privateKey);
  } catch (error) {
    // Zero, and what lies beyond the curve's order, are no keys.
    if (!(error instanceof Error)) throw error;
  }
  throw new UsageError("Cannot import a key: it has to be 64 hexadecimal digits, and not 0");
}

/**
 * Encrypts a key into a file.
 *
 * @throws {UsageError} if the file is there, or its folder is not.
 */
export async function saveKey(path: string, { address, key }: OpenedKey, password: string): Promise<void> {
  const { Crypto, ...rest } = JSON.parse(
    await encryptKeystoreJson({ address, privateKey: hexOf(key) }, password),
  );
  // ethers spells it as nobody else does.
  const text = `${JSON.stringify({ ...rest, crypto: rest.crypto ?? Crypto })}\n`;
  try {
    const lock = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
    lock.close();
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new UsageError(`Cannot make ${path}: it is there, and a key that is written over is lost`);
    }
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`Cannot make ${path}: there is no such folder`);
    }
    throw error;
  }
  try {
    await Deno.writeTextFile(`${path}.next`, text, { mode: 0o600, createNew: true });
    await Deno.rename(`${path}.next`, path);
  } catch (error) {
    await Deno.remove(path);
    throw error;
  }
}

/** Whose key a file holds; needs no password. @throws {UsageError} if it holds none. */
export async function addressIn(path: string): Promise<string> {
  const { address } = await readKeystore(path);
  return `0x${address.replace(/^0x/, "").toLowerCase()}`;
}

/**
 * Opens a key.
 *
 * @throws {UsageError} if the file holds none.
 * @throws {Failure} if the password is another.
 */
export async function openKey(path: string, password: string): Promise<OpenedKey> {
  const { text } = await readKeystore(path);
  try {
    return opened((await decryptKeystoreJson(text, password)).privateKey);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new Failure(`Cannot open ${path}: the password is another, or the file is damaged`);
  }
}

async function readKeystore(path: string): Promise<{ readonly text: string; readonly address: string }> {
  let text: string;
  try {
    const { size } = await Deno.stat(path);
    text = size > KEYSTORE_BYTES_MAX ? "" : await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied)) {
      throw error;
    }
    throw new UsageError(`Cannot open wallet ${path}: ${error.message}; deno task wallet create makes one`);
  }
  try {
    return { text, ...keystoreSchema.parse(JSON.parse(text)) };
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof z.ZodError)) throw error;
    throw new UsageError(`Cannot open wallet ${path}: it is no encrypted keystore of one key`);
  }
}

function opened(privateKey: string): OpenedKey {
  const key = Uint8Array.from(privateKey.slice(2).match(/../g)!, (pair) => parseInt(pair, 16));
  return { address: new Wallet(privateKey).address.toLowerCase(), key };
}

function hexOf(key: Uint8Array): string {
  return `0x${[...key].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
