/**
 * Who may ask, and how much. Keys are kept as hashes; one that is presented is
 * compared with every one, in a time that tells nothing of how near it came.
 */

import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import type { Clock } from "../actors/core/clock.ts";
import { ANSWERS_AT_ONCE_PER_KEY, KEYS_MAX } from "./limits.ts";
import { Problem } from "./problem.ts";
import { TokenBucket } from "./token_bucket.ts";

const amount = z.int().min(1).max(1_000_000_000).optional();

const keySchema = z.strictObject({
  /** For the operator. */
  name: z.string().min(1).max(100),
  key: z.string().min(16).max(200).optional(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits, lower case").optional(),
  requestsPerMinute: amount,
  tokensPerMinute: amount,
  /** Answers at once; a request with `n` has so many. */
  concurrent: amount.default(ANSWERS_AT_ONCE_PER_KEY),
}).refine(({ key, sha256 }) => (key === undefined) !== (sha256 === undefined), {
  message: "must have either key or sha256",
});

const fileSchema = z.strictObject({ keys: z.array(keySchema).min(1).max(KEYS_MAX) });

/** A key, as its owner's file describes it. */
export type KeyDescription = Readonly<z.input<typeof keySchema>>;

/**
 * Reads a file of keys: `{"keys": [{"name": "alice", "sha256": "…", "requestsPerMinute": 60, …}]}`.
 *
 * @throws {TypeError} naming what is wrong; never quoting a key.
 */
export function parseKeys(json: string): readonly KeyDescription[] {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // The message of the error itself quotes the file.
    throw new TypeError("Cannot read keys: the file is no JSON");
  }
  const result = fileSchema.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0];
    throw new TypeError(`Cannot read keys: ${path.join(".") || "contents"}: ${message}`);
  }
  const { keys } = result.data;
  const hashes = new Set(keys.map((key) => hashOf(key).toString("hex")));
  if (hashes.size < keys.length) throw new TypeError("Cannot read keys: two of them are the same");
  return keys;
}

/** A client that may ask, and what it has used up of its limits. */
export class Client {
  readonly name: string;
  readonly #requests?: TokenBucket;
  readonly #tokens?: TokenBucket;
  readonly #concurrentMax: number;
  #concurrent = 0;

  constructor(clock: Clock, description: Omit<KeyDescription, "key" | "sha256">) {
    const { name, requestsPerMinute, tokensPerMinute, concurrent = ANSWERS_AT_ONCE_PER_KEY } = description;
    this.name = name;
    if (requestsPerMinute !== undefined) this.#requests = new TokenBucket(clock, requestsPerMinute);
    if (tokensPerMinute !== undefined) this.#tokens = new TokenBucket(clock, tokensPerMinute);
    this.#concurrentMax = concurrent;
  }

  /**
   * Counts a request before a word of it is read, as reading takes time as well: one that can't be answered
   * counts, too.
   *
   * @throws {Problem} 429 if the limit of requests is reached, or that of tokens; nothing is counted then.
   */
  admit(): void {
    const wait = this.#requests?.secondsUntil(1) ?? 0;
    if (wait > 0) throw this.#limited("requests a minute", wait);
    const debt = this.#tokens?.secondsUntil(1) ?? 0;
    if (debt > 0) throw this.#limited("tokens a minute", debt);
    this.#requests?.take(1);
  }

  /**
   * Begins to answer. Dispose of what is returned when that is over.
   *
   * @param answers that are asked for.
   * @throws {Problem} 429 if so many are under way, 400 if it asks for more than ever will be allowed; nothing
   *   is counted then.
   */
  begin(answers: number): Disposable {
    if (answers > this.#concurrentMax) {
      const message =
        `Cannot answer ${answers} times: ${this.name} has ${this.#concurrentMax} answers at once`;
      throw new Problem(400, message, { param: "n", code: "invalid_value" });
    }
    if (this.#concurrent + answers > this.#concurrentMax) {
      throw this.#limited(`${this.#concurrentMax} answers at once`, 1);
    }
    this.#concurrent += answers;
    let over = false;
    return {
      [Symbol.dispose]: () => {
        if (!over) this.#concurrent -= answers;
        over = true;
      },
    };
  }

  /** Counts tokens that were read or drawn. */
  charge(tokens: number): void {
    this.#tokens?.take(tokens);
  }

  #limited(what: string, seconds: number): Problem {
    const message = `Cannot answer ${this.name} now: the limit of its ${what} is reached`;
    return new Problem(429, message, { code: "rate_limit_exceeded", retryAfterSeconds: seconds });
  }
}

/** All who may ask. */
export class Clients {
  readonly #known: readonly { readonly hash: Uint8Array; readonly client: Client }[];
  readonly #anybody?: Client;

  /** @param keys none: anybody may ask, without limits of its own. */
  constructor(clock: Clock, keys: readonly KeyDescription[]) {
    this.#known = keys.map((key) => ({ hash: hashOf(key), client: new Client(clock, key) }));
    if (keys.length === 0) this.#anybody = new Client(clock, { name: "anybody", concurrent: Infinity });
  }

  /** Whether anybody may ask. */
  get open(): boolean {
    return this.#anybody !== undefined;
  }

  /**
   * Who asks.
   *
   * @param authorization the header, `Bearer KEY`.
   * @throws {Problem} 401 unless it is somebody who may.
   */
  identify(authorization: string | null): Client {
    if (this.#anybody) return this.#anybody;
    const presented = /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
    if (presented === undefined) {
      throw unauthorized("Cannot answer: no API key is given, as Authorization: Bearer KEY");
    }
    const hash = sha256(presented);
    let found: Client | undefined;
    for (const { hash: known, client } of this.#known) if (timingSafeEqual(hash, known)) found = client;
    if (found) return found;
    throw unauthorized("Cannot answer: the API key is not known here");
  }
}

function unauthorized(message: string): Problem {
  return new Problem(401, message, { code: "invalid_api_key", headers: { "www-authenticate": "Bearer" } });
}

function hashOf({ key, sha256: hex }: KeyDescription): Buffer {
  return key === undefined ? Buffer.from(hex!, "hex") : sha256(key);
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
