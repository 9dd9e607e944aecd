/**
 * The tokenizer of a published model, from its `tokenizer.json`. It adds no
 * special tokens of its own; a text that spells one out ("</s>") gets that one,
 * as Hugging Face does it. It reads no files and asks no hub.
 */

import { Tokenizer as PublishedTokenizer } from "@huggingface/tokenizers";
import { checkTokenIds, type Tokenizer } from "./tokenizer.ts";

/** Above it an id is taken for an attack on our memory. As many as a manifest allows. */
const VOCABULARY_MAX = 1_048_576;

/**
 * @param json contents of `tokenizer.json`.
 * @param configJson contents of `tokenizer_config.json`, which names the tokens
 *   that open and end a text.
 * @throws {TypeError} if it is no tokenizer, or a kind that is not supported.
 */
export function huggingFaceTokenizer(json: string, configJson = "{}"): Tokenizer {
  const config = parseObject(configJson, "tokenizer_config.json");
  const inner = build(parseObject(json, "tokenizer.json"), config);
  const ids = [...inner.get_vocab().values()];
  const vocabulary = ids.reduce((most, id) => Math.max(most, id + 1), 0);
  if (vocabulary < 1 || vocabulary > VOCABULARY_MAX) {
    throw new TypeError(
      `Cannot read tokenizer.json: vocabulary holds ${vocabulary}, allowed are 1 to ${VOCABULARY_MAX}`,
    );
  }
  return Object.freeze({
    vocabulary,
    beginOfText: idOf(inner, config.bos_token),
    endOfText: idOf(inner, config.eos_token),

    encode(text: string): Int32Array {
      const { ids } = inner.encode(text, { add_special_tokens: false });
      // What the vocabulary has no word for is undefined where there is no unknown token either.
      checkTokenIds(ids, vocabulary);
      return Int32Array.from(ids);
    },

    decode(ids: ArrayLike<number>): string {
      checkTokenIds(ids, vocabulary);
      if (ids.length === 0) return "";
      return inner.decode(Array.from(ids), { skip_special_tokens: true });
    },
  });
}

function build(tokenizer: object, config: Record<string, unknown>): PublishedTokenizer {
  // Without its word in the config the library "cleans up" blanks before punctuation, which no
  // decoder of this family does, and which would make text depend on where it is cut.
  const settings = { clean_up_tokenization_spaces: false, ...config };
  try {
    return new PublishedTokenizer({ added_tokens: [], ...tokenizer }, settings);
  } catch (error) {
    // The library throws plain errors for what it does not support, and trips over what is malformed.
    if (!(error instanceof Error)) throw error;
    throw new TypeError(`Cannot read tokenizer.json: ${error.message}`, { cause: error });
  }
}

function parseObject(json: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read ${what}: ${error.message}`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`Cannot read ${what}: expected an object`);
  }
  return value as Record<string, unknown>;
}

/** A token is named by its text, or by an object that holds its text. */
function idOf(inner: PublishedTokenizer, token: unknown): number | undefined {
  const content = typeof token === "object" && token !== null && "content" in token ? token.content : token;
  return typeof content === "string" ? inner.token_to_id(content) : undefined;
}
