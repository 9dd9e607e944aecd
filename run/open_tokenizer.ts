/**
 * The tokenizer that a manifest names. Whoever calls reads the file; here its
 * bytes are checked against the manifest's hash before a word of it is believed.
 */

import { createHash } from "node:crypto";
import { byteTokenizer } from "./byte_tokenizer.ts";
import { huggingFaceTokenizer } from "./huggingface_tokenizer.ts";
import type { Manifest } from "./manifest.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * The tokenizer that a manifest names.
 *
 * @param bytes of the file that the manifest names; none for the tokenizer of bytes.
 * @param configJson contents of `tokenizer_config.json`, if there is one.
 * @throws {TypeError} if the file is missing, not the one that the manifest
 *   names, or speaks more tokens than the model knows.
 */
export function openTokenizer(
  manifest: Pick<Manifest, "tokenizer" | "model">,
  bytes?: Uint8Array,
  configJson?: string,
): Tokenizer {
  const { tokenizer: named, model } = manifest;
  if (named.kind === "bytes") return byteTokenizer;
  if (!bytes) throw new TypeError(`Cannot open tokenizer ${named.file}: its bytes are missing`);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  if (sha256 !== named.sha256) {
    throw new TypeError(
      `Cannot open tokenizer ${named.file}: its SHA-256 is ${sha256}, the manifest names ${named.sha256}`,
    );
  }
  const tokenizer = huggingFaceTokenizer(new TextDecoder().decode(bytes), configJson);
  if (tokenizer.vocabulary > model.vocabulary) {
    throw new TypeError(
      `Cannot open tokenizer ${named.file}: it speaks ${tokenizer.vocabulary} tokens, the model ${model.vocabulary}`,
    );
  }
  return tokenizer;
}
