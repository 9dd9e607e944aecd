/**
 * What the tokens of an answer read as, and which of them may be told: a token is
 * told with the text that it ends, so that neither runs ahead of the other.
 */

import type { DrawnToken } from "../run/sampling.ts";
import { lastWithText } from "../run/text_stream.ts";
import type { Tokenizer } from "../run/tokenizer.ts";

/** A token as it reads at its place. */
export interface TokenChance {
  readonly text: string;
  /** Natural logarithm. */
  readonly logProbability: number;
}

/** A token of an answer. */
export interface AnswerToken extends TokenChance {
  /** Where in the answer its text begins, in characters. */
  readonly offset: number;
  /** The likeliest ones at this place, as many as were asked for. */
  readonly top: readonly TokenChance[];
}

/** Keeps the account of one answer. */
export class TokenAccount {
  readonly #tokenizer: Tokenizer;
  #previous: readonly number[];
  /** Length of the text that was drawn, and of that which was told. */
  #drawn: number;
  #told: number;
  #waiting: { readonly token: AnswerToken; readonly end: number }[] = [];

  /**
   * @param after tokens that the answer goes on from; none if it is a text of its own.
   * @param offset length of what stands before the first token.
   */
  constructor(tokenizer: Tokenizer, after: ArrayLike<number>, offset: number) {
    this.#tokenizer = tokenizer;
    this.#previous = lastWithText(tokenizer, after);
    this.#drawn = offset;
    this.#told = offset;
  }

  /**
   * Takes the next token.
   *
   * @param text what it completes, often nothing, as `TextStream` says.
   */
  add(drawn: DrawnToken, text: string): void {
    const chance = ({ token, logProbability }: Omit<DrawnToken, "top">) => ({
      text: this.#textAtPlace(token),
      logProbability,
    });
    const token = { ...chance(drawn), offset: this.#drawn, top: drawn.top.map(chance) };
    this.#drawn += text.length;
    this.#previous = [drawn.token];
    this.#waiting.push({ token, end: this.#drawn });
  }

  /**
   * Takes the length of the text that is told now.
   *
   * @param cut whether nothing more is told: then a token that is told in part counts as well.
   * @returns the tokens that go with it.
   */
  tell(length: number, cut: boolean): readonly AnswerToken[] {
    this.#told += length;
    const isTold = ({ token, end }: { token: AnswerToken; end: number }) =>
      end <= this.#told || (cut && token.offset < this.#told);
    const count = this.#waiting.findIndex((entry) => !isTold(entry));
    return this.#waiting.splice(0, count < 0 ? this.#waiting.length : count).map(({ token }) => token);
  }

  /** Decoders treat the beginning of a text differently, so a token is read after the one before it. */
  #textAtPlace(token: number): string {
    const before = this.#tokenizer.decode(this.#previous);
    const both = this.#tokenizer.decode([...this.#previous, token]);
    // Where the two make one character neither has a text of its own.
    return both.startsWith(before) ? both.slice(before.length) : this.#tokenizer.decode([token]);
  }
}
