/**
 * One token per byte of UTF-8: needs no file, and any text can be written. The
 * default of fresh runs.
 */

import { checkTokenIds, type Tokenizer } from "./tokenizer.ts";

const VOCABULARY = 256;

/** Token ids are the bytes of the text's UTF-8. */
export const byteTokenizer: Tokenizer = Object.freeze({
  vocabulary: VOCABULARY,

  encode(text: string): Int32Array {
    return Int32Array.from(new TextEncoder().encode(text));
  },

  decode(ids: ArrayLike<number>): string {
    checkTokenIds(ids, VOCABULARY);
    // A byte-order mark is a character like any other: decoding must undo encoding.
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(ids));
  },
});
