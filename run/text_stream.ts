/**
 * Text of tokens that arrive one by one. One token may hold a part of a UTF-8
 * character: such a part waits for the rest instead of becoming U+FFFD.
 */

import type { Tokenizer } from "./tokenizer.ts";

/** Tokens that may wait for the rest of a character: four bytes, and room for special tokens between. */
const WAITING_TOKENS_MAX = 8;

const REPLACEMENT = "\ufffd";

/** Decodes one sequence of tokens. */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  /** Tokens already shown; decoding needs them, as some decoders treat the start of a text differently. */
  #shown: number[] = [];
  #waiting: number[] = [];

  /**
   * Starts a sequence.
   *
   * @param before tokens that it goes on from, and that are shown elsewhere: without them it is read as the
   *   beginning of a text, where some decoders leave out a blank.
   */
  constructor(tokenizer: Tokenizer, before: ArrayLike<number> = []) {
    this.#tokenizer = tokenizer;
    this.#shown = lastWithText(tokenizer, before);
  }

  /**
   * Takes the next token.
   *
   * @returns the text that this token completes, often none.
   * @throws {RangeError} if the id is outside the vocabulary.
   */
  push(id: number): string {
    const waiting = [...this.#waiting, id];
    const text = this.#textOf(waiting);
    this.#waiting = waiting;
    if (text.endsWith(REPLACEMENT)) {
      if (waiting.length < WAITING_TOKENS_MAX) return "";
      // No character is that long: what is there is broken, and must not be joined with what follows.
      this.#shown = [];
    } else {
      // Tokens without text (special ones) are no context: keep the last that had some.
      if (text !== "") this.#shown = waiting;
    }
    this.#waiting = [];
    return text;
  }

  /** What still waits, as it stands; call it after the last token. */
  end(): string {
    const text = this.#textOf(this.#waiting);
    this.#shown = [];
    this.#waiting = [];
    return text;
  }

  #textOf(waiting: readonly number[]): string {
    const before = this.#tokenizer.decode(this.#shown);
    const all = this.#tokenizer.decode([...this.#shown, ...waiting]);
    return all.slice(before.length);
  }
}

/** As few of the last tokens as have a text, if it ends with a whole character. */
function lastWithText(tokenizer: Tokenizer, tokens: ArrayLike<number>): number[] {
  const most = Math.min(tokens.length, WAITING_TOKENS_MAX);
  for (let count = 1; count <= most; count++) {
    const last = Array.from({ length: count }, (_, index) => tokens[tokens.length - count + index]);
    const text = tokenizer.decode(last);
    if (text !== "" && !text.endsWith(REPLACEMENT)) return last;
  }
  return [];
}
