/**
 * The tokenizer that a manifest names, and the template of its chats. Whoever
 * calls reads the files; here their bytes are checked against the manifest's
 * hashes before a word of them is believed.
 */

import { createHash } from "node:crypto";
import { byteTokenizer } from "./byte_tokenizer.ts";
import { type ChatTemplate, openChatTemplate } from "./chat_template.ts";
import { huggingFaceTokenizer } from "./huggingface_tokenizer.ts";
import type { Manifest, NamedFile } from "./manifest.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Contents of the files that a manifest's tokenizer names. */
export interface TokenizerFiles {
  /** `tokenizer.json` */
  readonly tokenizer?: Uint8Array;
  /** `tokenizer_config.json` */
  readonly config?: Uint8Array;
  /** `chat_template.jinja` */
  readonly chatTemplate?: Uint8Array;
}

/**
 * The tokenizer that a manifest names.
 *
 * @param files none for the tokenizer of bytes.
 * @throws {TypeError} if a file is missing, not the one that the manifest names, or no tokenizer, or if it
 *   speaks more tokens than the model knows.
 */
export function openTokenizer(
  manifest: Pick<Manifest, "tokenizer" | "model">,
  files: TokenizerFiles = {},
): Tokenizer {
  const { tokenizer: named, model } = manifest;
  if (named.kind === "bytes") return byteTokenizer;
  const json = checked(named, files.tokenizer);
  const tokenizer = huggingFaceTokenizer(json, named.config && checked(named.config, files.config));
  if (tokenizer.vocabulary > model.vocabulary) {
    throw new TypeError(
      `Cannot open tokenizer ${named.file}: it speaks ${tokenizer.vocabulary} tokens, the model ${model.vocabulary}`,
    );
  }
  const ends = new Set([...tokenizer.endOfText ?? [], ...named.endOfText ?? []]);
  return Object.freeze({ ...tokenizer, endOfText: [...ends] });
}

/**
 * The template of chats that a manifest names, or a plain one.
 *
 * @throws {TypeError} if a file is missing, not the one that the manifest names, or no template.
 */
export function openNamedChatTemplate(
  { tokenizer: named }: Pick<Manifest, "tokenizer">,
  files: TokenizerFiles = {},
): ChatTemplate {
  if (named.kind === "bytes") return openChatTemplate(undefined);
  const config = named.config && checked(named.config, files.config);
  if (named.chatTemplate === undefined) return openChatTemplate(config);
  const template = checked(named.chatTemplate, files.chatTemplate);
  return openChatTemplate(JSON.stringify({ ...fields(config), chat_template: template }));
}

function checked({ file, sha256 }: NamedFile, bytes: Uint8Array | undefined): string {
  if (bytes === undefined) throw new TypeError(`Cannot open tokenizer ${file}: its bytes are missing`);
  const found = createHash("sha256").update(bytes).digest("hex");
  if (found === sha256) return new TextDecoder().decode(bytes);
  throw new TypeError(`Cannot open tokenizer ${file}: its SHA-256 is ${found}, the manifest names ${sha256}`);
}

function fields(json = "{}"): object {
  try {
    return JSON.parse(json);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read tokenizer_config.json: ${error.message}`, { cause: error });
  }
}
