/**
 * Who keeps what where in a pool of keys and values: a session takes blocks,
 * anywhere in the pool, so that sessions grow and end in any order and no room
 * is lost between them (Kwon et al., 2023). Pure bookkeeping: it holds no keys
 * and no values.
 */

import { roundedUp } from "../kernels/few_sizes.ts";
import { CacheFull } from "./sessions.ts";

/** Positions of one block. */
export const BLOCK_TOKENS = 32;

/** Block that no session ever takes: what a run reads of it is as it was in the beginning. */
export const SPARE_BLOCK = 0;

/** One session's share of the pool. */
export interface KeptSession {
  readonly key: string;
  /** Tokens of which keys and values are kept. */
  readonly tokens: number;
  /** Of the pool, in the order of the text. */
  readonly blocks: readonly number[];
}

/** The pool's blocks. */
export class CacheBlocks {
  readonly #capacity: number;
  readonly #sessions = new Map<string, KeptSession & { tokens: number; blocks: number[] }>();
  /** Blocks that were given back. Those from `#touched` on were never taken. */
  readonly #returned: number[] = [];
  #touched = SPARE_BLOCK + 1;

  /** @param capacity blocks that may be taken at once. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Tokens that may be kept at once. */
  get capacityTokens(): number {
    return this.#capacity * BLOCK_TOKENS;
  }

  /** Tokens in blocks that nobody has taken. */
  get roomTokens(): number {
    return this.#free * BLOCK_TOKENS;
  }

  /** Sessions that keep something. */
  get count(): number {
    return this.#sessions.size;
  }

  /** Blocks that the pool must have: one more than the greatest that was ever taken. */
  get poolBlocks(): number {
    return this.#touched;
  }

  /**
   * Cuts sessions off and makes room for new tokens of each: of all of them, or of none.
   * Tells which of the blocks that are taken for them others have used.
   *
   * @param sequences a session that keeps less than `position` tokens is not continued; one that begins at 0 is new.
   * @param tokens new ones of each.
   * @throws {TypeError} if a session lacks tokens before its position, or is named twice.
   * @throws {CacheFull} if there is no room.
   */
  extend(
    sequences: readonly { readonly key: string; readonly position: number }[],
    tokens: number,
  ): { readonly kept: readonly KeptSession[]; readonly used: readonly number[] } {
    let missing = 0;
    const named = new Set<string>();
    for (const { key, position } of sequences) {
      const action = `Cannot continue session ${key}`;
      if (named.has(key)) throw new TypeError(`${action}: it is named twice`);
      named.add(key);
      const session = this.#sessions.get(key);
      if ((session?.tokens ?? 0) < position) {
        throw new TypeError(`${action} at position ${position}: ${session?.tokens ?? 0} tokens are kept`);
      }
      missing += blocksOf(position + tokens) - (session?.blocks.length ?? 0);
    }
    if (missing > this.#free) {
      throw new CacheFull(
        `Cannot continue ${sequences.length} sessions by ${tokens} tokens: ` +
          `${missing} blocks are missing, ${this.#free} of ${this.#capacity} are free`,
      );
    }
    // What is cut off may be another's room.
    for (const { key, position } of sequences) this.#cutOff(key, position, blocksOf(position + tokens));
    const used: number[] = [];
    const kept = sequences.map(({ key, position }) => {
      const session = this.#sessions.get(key) ?? { key, tokens: 0, blocks: [] };
      this.#sessions.set(key, session);
      session.tokens = position + tokens;
      while (session.blocks.length < blocksOf(session.tokens)) {
        const block = this.#returned.pop();
        if (block !== undefined) used.push(block);
        session.blocks.push(block ?? this.#touched++);
      }
      return session;
    });
    return { kept, used };
  }

  /** Frees what a session keeps; nothing happens if there is none. */
  end(key: string): void {
    this.#cutOff(key, 0, 0);
  }

  /** Frees what this session keeps, unless another has begun under its name. */
  endThis(session: KeptSession): void {
    if (this.#sessions.get(session.key) === session) this.end(session.key);
  }

  /** Ends all sessions. */
  clear(): void {
    for (const key of [...this.#sessions.keys()]) this.end(key);
  }

  get #free(): number {
    return this.#capacity - (this.#touched - 1) + this.#returned.length;
  }

  /** @param blocks that are left to it. */
  #cutOff(key: string, tokens: number, blocks: number): void {
    const session = this.#sessions.get(key);
    if (!session) return;
    session.tokens = tokens;
    if (session.blocks.length > blocks) this.#returned.push(...session.blocks.splice(blocks));
    if (tokens > 0) return;
    // Whatever begins under this name is another session.
    this.#returned.push(...session.blocks);
    this.#sessions.delete(key);
  }
}

/**
 * Where the heads of a session's positions lie in a pool `[blocks, heads, BLOCK_TOKENS]`: position by position,
 * head by head.
 *
 * @param into receives them, from `offset` on.
 */
export function headRows(
  { blocks }: Pick<KeptSession, "blocks">,
  heads: number,
  begin: number,
  end: number,
  into: Int32Array,
  offset: number,
): void {
  for (let position = begin; position < end; position++) {
    const block = blocks[Math.floor(position / BLOCK_TOKENS)];
    for (let head = 0; head < heads; head++) {
      into[offset++] = (block * heads + head) * BLOCK_TOKENS + position % BLOCK_TOKENS;
    }
  }
}

/** Blocks that so many tokens take. */
export function blocksOf(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

/**
 * Blocks that a run has room for, where its longest session has so many: beyond eight there are four sizes from
 * each power of two to the next, as devices settle anew for each size what lies where.
 *
 * @param blocks at least 1.
 */
export function roundedBlocks(blocks: number): number {
  return roundedUp(blocks, 4);
}
