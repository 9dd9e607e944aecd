/**
 * The key of a private swarm, in libp2p's own file format: three lines, of which
 * the last is 32 bytes in hexadecimal digits. Whoever holds the file belongs.
 *
 * It protects connections, not peers: it says nothing about who a member is, and
 * a member that gives it away gives all of it away.
 */

import { createHash } from "node:crypto";
import { generateKey, preSharedKey } from "@libp2p/pnet";
import { SWARM_KEY_FILE_BYTES_MAX } from "../limits.ts";

const HEADER = "/key/swarm/psk/1.0.0/";
const ENCODING = "/base16/";
const KEY_BYTES = 32;

/** A key that all members of a private swarm hold. */
export interface SwarmKey {
  /** Tells keys apart without telling the key: eight hexadecimal digits. */
  readonly fingerprint: string;
  /** What libp2p wraps connections with, before anything else is said on them. */
  readonly protector: ReturnType<typeof preSharedKey>;
}

/**
 * Reads a key from a file.
 *
 * @throws {Deno.errors.NotFound} if there is no such file.
 * @throws {TypeError} if it does not hold a key; the message names the line.
 */
export async function loadSwarmKey(path: string): Promise<SwarmKey> {
  const { size } = await Deno.stat(path);
  if (size > SWARM_KEY_FILE_BYTES_MAX) {
    throw new TypeError(
      `Cannot read swarm key ${path}: it has ${size} bytes, at most ${SWARM_KEY_FILE_BYTES_MAX}`,
    );
  }
  return parseSwarmKey(await Deno.readTextFile(path), path);
}

/**
 * A key from the text of its file.
 *
 * @param name of the file, for messages.
 * @throws {TypeError} if it is no key.
 */
export function parseSwarmKey(text: string, name = "text"): SwarmKey {
  const refuse = (why: string): never => {
    throw new TypeError(`Cannot read swarm key ${name}: ${why}`);
  };
  const [header, encoding, digits, ...rest] = text.split(/\r\n|\r|\n/);
  if (header !== HEADER) refuse(`its first line is not ${HEADER}`);
  if (encoding !== ENCODING) refuse(`its second line is not ${ENCODING}`);
  if (digits === undefined || !/^[0-9a-fA-F]{64}$/.test(digits)) {
    refuse(`its third line is not ${2 * KEY_BYTES} hexadecimal digits`);
  }
  if (rest.some((line) => line !== "")) refuse("something follows the key");
  const lines = fileOf(Uint8Array.fromHex(digits!));
  return {
    fingerprint: createHash("sha256").update(`murmuration swarm key\n${lines}`).digest("hex").slice(0, 8),
    protector: preSharedKey({ psk: new TextEncoder().encode(lines) }),
  };
}

/**
 * Makes a key, from the machine's own entropy, and writes it where only its owner
 * can read it. Refuses to overwrite: a lost key is a lost swarm.
 *
 * @throws {Deno.errors.AlreadyExists} if the file is there.
 */
export async function createSwarmKey(path: string): Promise<SwarmKey> {
  const generated = new Uint8Array(fileOf(new Uint8Array(KEY_BYTES)).length - 1);
  generateKey(generated);
  const text = `${new TextDecoder().decode(generated)}\n`;
  await Deno.writeTextFile(path, text, { mode: 0o600, createNew: true });
  return parseSwarmKey(text, path);
}

function fileOf(key: Uint8Array): string {
  return `${HEADER}\n${ENCODING}\n${key.toHex()}\n`;
}
