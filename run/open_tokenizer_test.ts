import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { parseManifest } from "./manifest.ts";
import { openTokenizer } from "./open_tokenizer.ts";

/** A tokenizer of single letters. */
function letters(count: number): Uint8Array {
  const vocab = Object.fromEntries(
    Array.from({ length: count }, (_, id) => [String.fromCodePoint(97 + id), id]),
  );
  return new TextEncoder().encode(JSON.stringify({
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "Fuse" },
    model: { type: "BPE", vocab, merges: [], unk_token: null, byte_fallback: false, fuse_unk: false },
  }));
}

function manifest(tokenizer: unknown, vocabulary = 300) {
  return parseManifest(JSON.stringify({
    version: 1,
    name: "words",
    model: { vocabulary, width: 8, layers: 1, heads: 1 },
    stages: 1,
    sequenceLength: 8,
    sequencesPerMicroBatch: 1,
    microBatchesPerStep: 1,
    steps: 1,
    tokenizer,
  }));
}

const named = (bytes: Uint8Array) => ({
  kind: "huggingface",
  file: "words/tokenizer.json",
  sha256: createHash("sha256").update(bytes).digest("hex"),
});

Deno.test("openTokenizer needs no file for bytes", () => {
  assert.equal(openTokenizer(manifest({ kind: "bytes" })).vocabulary, 256);
});

Deno.test("openTokenizer believes the file that the manifest names", () => {
  const bytes = letters(20);
  const tokenizer = openTokenizer(manifest(named(bytes)), bytes);
  assert.deepEqual([...tokenizer.encode("bad")], [1, 0, 3]);
});

Deno.test("openTokenizer refuses another file, no file, and words that the model does not know", () => {
  const bytes = letters(20);
  assert.throws(
    () => openTokenizer(manifest(named(bytes)), letters(19)),
    /its SHA-256 is .* the manifest names/,
  );
  assert.throws(() => openTokenizer(manifest(named(bytes))), /words\/tokenizer\.json: its bytes are missing/);
  assert.throws(() => openTokenizer(manifest(named(bytes), 19), bytes), /it speaks 20 tokens, the model 19/);
});

Deno.test("letters that the tokenizer has no word for leave nothing, as Hugging Face does it", () => {
  const bytes = letters(20);
  assert.deepEqual([...openTokenizer(manifest(named(bytes)), bytes).encode("bzad")], [1, 0, 3]);
});
