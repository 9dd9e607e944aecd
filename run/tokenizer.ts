/**
 * Between text and token ids. A tokenizer keeps no state and reads no files;
 * for text that arrives token by token see `text_stream.ts`.
 */

/** Turns text into token ids and back. */
export interface Tokenizer {
  /** One above the largest id. */
  readonly vocabulary: number;
  /** Id that opens a text, where the model was taught one. */
  readonly beginOfText?: number;
  /** Ids that end a text, where the model was taught any. */
  readonly endOfText?: readonly number[];
  /** Ids of a text, without any that mark its beginning or end. */
  encode(text: string): Int32Array;
  /**
   * Text of ids; special ids leave nothing behind, and bytes that are no UTF-8 become U+FFFD.
   * @throws {RangeError} if an id is outside the vocabulary.
   */
  decode(ids: ArrayLike<number>): string;
}

/**
 * Refuses ids that a vocabulary does not hold.
 *
 * @throws {RangeError} unless every id is an integer in [0, vocabulary).
 */
export function checkTokenIds(ids: ArrayLike<number>, vocabulary: number): void {
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index];
    if (!Number.isInteger(id) || id < 0 || id >= vocabulary) {
      throw new RangeError(
        `Cannot use token ${index}: its id is ${id}, and the vocabulary holds ${vocabulary}`,
      );
    }
  }
}
