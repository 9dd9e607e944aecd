/**
 * The tokenizer of a published model, from its `tokenizer.json`. It adds no
 * special tokens of its own; a text that spells one out ("</s>") gets that one,
 * as Hugging Face does it. It reads no files and asks no hub.
 */

import { Tokenizer as PublishedTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { checkTokenIds, type Tokenizer } from "./tokenizer.ts";

/** As many as a manifest allows. Above it an id is taken for an attack: the library fills a list up to it. */
const VOCABULARY_MAX = 1_048_576;

const id = z.int().min(0).max(VOCABULARY_MAX - 1);

/** What of the file is looked at before the library sees it: all that can cost memory. */
const fileSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id, content: z.string() })).max(VOCABULARY_MAX).default([]),
  model: z.discriminatedUnion("type", [
    z.looseObject({ type: z.enum(["BPE", "WordPiece"]), vocab: z.record(z.string(), id) }),
    z.looseObject({ type: z.literal("Unigram"), vocab: z.array(z.unknown()).max(VOCABULARY_MAX) }),
  ]),
});

const configSchema = z.looseObject({});

/**
 * Reads a published tokenizer.
 *
 * @param json contents of `tokenizer.json`.
 * @param configJson contents of `tokenizer_config.json`, which names the tokens
 *   that open and end a text.
 * @throws {TypeError} if it is no tokenizer, or a kind that is not supported.
 */
export function huggingFaceTokenizer(json: string, configJson = "{}"): Tokenizer {
  const config = parse(configSchema, configJson, "tokenizer_config.json");
  const file = parse(fileSchema, json, "tokenizer.json");
  const inner = build(file, config);
  const begin = made(() => beginOf(inner, config));
  const vocabulary = vocabularyOf(file);
  const end = idOf(inner, config.eos_token);
  return Object.freeze({
    vocabulary,
    beginOfText: begin,
    endOfText: end === undefined ? [] : [end],

    encode(text: string): Int32Array {
      const { ids } = inner.encode(text, { add_special_tokens: false });
      // An unknown token that the file names, and then does not define, has no id.
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

function build(file: object, config: object): PublishedTokenizer {
  // Without its word in the config the library "cleans up" blanks before punctuation, which no
  // decoder of this family does, and which would make text depend on where it is cut.
  const settings = { clean_up_tokenization_spaces: false, ...config };
  return made(() => new PublishedTokenizer(file, settings));
}

/** The library throws plain errors for what it does not support, and trips over what is malformed. */
function made<Value>(make: () => Value): Value {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new TypeError(`Cannot read tokenizer.json: ${error.message}`, { cause: error });
  }
}

/**
 * What a text opens with, as Hugging Face has it: what `tokenizer.json` itself puts there, or its config has
 * put there. A config may also name a token that opens texts, and never use it.
 */
function beginOf(inner: PublishedTokenizer, config: z.output<typeof configSchema>): number | undefined {
  const { add_bos_token: adds, tokenizer_class: kind, bos_token: token } = config;
  if (adds === false) return undefined;
  const [bare, whole] = [false, true].map((add) => inner.encode("a", { add_special_tokens: add }).ids);
  if (whole.length > bare.length && whole[0] !== bare[0]) return whole[0];
  return adds === true || /^LlamaTokenizer/.test(String(kind)) ? idOf(inner, token) : undefined;
}

/** One above the largest id, whoever holds it. */
function vocabularyOf({ added_tokens, model }: z.output<typeof fileSchema>): number {
  let most = Array.isArray(model.vocab) ? model.vocab.length : 0;
  const ids = Array.isArray(model.vocab) ? [] : Object.values(model.vocab);
  for (const id of ids) most = Math.max(most, id + 1);
  for (const { id } of added_tokens) most = Math.max(most, id + 1);
  return most;
}

function parse<Schema extends z.ZodType>(schema: Schema, json: string, what: string): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read ${what}: ${error.message}`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0];
    throw new TypeError(`Cannot read ${what}: ${path.join(".") || "contents"}: ${message}`);
  }
  return result.data;
}

/** A token is named by its text, or by an object that holds its text. */
function idOf(inner: PublishedTokenizer, token: unknown): number | undefined {
  const content = typeof token === "object" && token !== null && "content" in token ? token.content : token;
  return typeof content === "string" ? inner.token_to_id(content) : undefined;
}
