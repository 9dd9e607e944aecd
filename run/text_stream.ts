/**
 * Text of tokens that arrive one by one. One token may hold a part of a UTF-8
 * character: such a part waits for the rest instead of becoming U+FFFD.
 */

import type { Tokenizer } from "./tokenizer.ts";

/** Tokens that may come without a whole character: four bytes, and room for special tokens between. */
const SILENT_TOKENS_MAX = 8;
/** Tokens that are decoded again and again because each of them ends within a character. */
const WAITING_TOKENS_MAX = 2 * SILENT_TOKENS_MAX;

const REPLACEMENT = "\ufffd";

/** Decodes one sequence of tokens. */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  /** Tokens already shown; decoding needs them, as some decoders treat the start of a text differently. */
  #shown: number[] = [];
  /** Tokens after those, of which the last ones are within a character. */
  #waiting: number[] = [];
  /** Characters of the text of those that wait that were shown. */
  #told = 0;
  /** Tokens since the last whole character. */
  #silent = 0;

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
    const whole = wholeLength(text);
    const piece = text.slice(this.#told, whole);
    if (whole === text.length) {
      // Tokens without text (special ones) are no context: keep the last that had some.
      this.#begin(text === "" ? this.#shown : waiting);
      return piece;
    }
    this.#waiting = waiting;
    this.#told = Math.max(this.#told, whole);
    this.#silent = piece === "" ? this.#silent + 1 : 0;
    // No character is that long: what is there is broken, and must not be joined with what follows.
    if (this.#silent >= SILENT_TOKENS_MAX) return this.end();
    if (waiting.length >= WAITING_TOKENS_MAX) this.#forget(text.length - this.#told);
    return piece;
  }

  /** What still waits, as it stands; call it after the last token. */
  end(): string {
    const text = this.#textOf(this.#waiting).slice(this.#told);
    this.#begin([]);
    return text;
  }

  /** Nothing waits. */
  #begin(shown: number[]): void {
    this.#shown = shown;
    this.#waiting = [];
    this.#told = 0;
    this.#silent = 0;
  }

  /** Keeps as many tokens as a character may take. @param untold characters at the end that were not shown. */
  #forget(untold: number): void {
    this.#shown = [];
    this.#waiting = this.#waiting.slice(-SILENT_TOKENS_MAX);
    this.#told = this.#textOf(this.#waiting).length - untold;
  }

  #textOf(waiting: readonly number[]): string {
    const before = this.#tokenizer.decode(this.#shown);
    const all = this.#tokenizer.decode([...this.#shown, ...waiting]);
    return all.slice(before.length);
  }
}

/** Length of a text without what may be a part of a character at its end. */
function wholeLength(text: string): number {
  let length = text.length;
  while (text[length - 1] === REPLACEMENT) length--;
  return length;
}

/** As few of the last tokens as have a text, if it ends with a whole character. What follows is read after them. */
export function lastWithText(tokenizer: Tokenizer, tokens: ArrayLike<number>): number[] {
  const most = Math.min(tokens.length, SILENT_TOKENS_MAX);
  for (let count = 1; count <= most; count++) {
    const last = Array.from({ length: count }, (_, index) => tokens[tokens.length - count + index]);
    const text = tokenizer.decode(last);
    if (text !== "" && !text.endsWith(REPLACEMENT)) return last;
  }
  return [];
}
