import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { parseManifest } from "./manifest.ts";
import { openNamedChatTemplate, openTokenizer } from "./open_tokenizer.ts";

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

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

const named = (bytes: Uint8Array, more: object = {}) => ({
  kind: "huggingface",
  file: "words/tokenizer.json",
  sha256: sha256(bytes),
  ...more,
});

Deno.test("openTokenizer needs no file for bytes", () => {
  assert.equal(openTokenizer(manifest({ kind: "bytes" })).vocabulary, 256);
});

Deno.test("openTokenizer believes the file that the manifest names", () => {
  const bytes = letters(20);
  const tokenizer = openTokenizer(manifest(named(bytes)), { tokenizer: bytes });
  assert.deepEqual([...tokenizer.encode("bad")], [1, 0, 3]);
});

Deno.test("openTokenizer refuses another file, no file, and words that the model does not know", () => {
  const bytes = letters(20);
  assert.throws(
    () => openTokenizer(manifest(named(bytes)), { tokenizer: letters(19) }),
    /its SHA-256 is .* the manifest names/,
  );
  assert.throws(() => openTokenizer(manifest(named(bytes))), /words\/tokenizer\.json: its bytes are missing/);
  assert.throws(
    () => openTokenizer(manifest(named(bytes), 19), { tokenizer: bytes }),
    /it speaks 20 tokens, the model 19/,
  );
});

Deno.test("letters that the tokenizer has no word for leave nothing, as Hugging Face does it", () => {
  const bytes = letters(20);
  assert.deepEqual([...openTokenizer(manifest(named(bytes)), { tokenizer: bytes }).encode("bzad")], [
    1,
    0,
    3,
  ]);
});

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("ends of text are those that the config names and those that the manifest does", () => {
  const tokenizer = letters(20);
  const config = encode(JSON.stringify({ eos_token: "c" }));
  const file = { file: "tokenizer_config.json", sha256: sha256(config) };
  const ends = (more: object) =>
    openTokenizer(manifest(named(tokenizer, more)), { tokenizer, config }).endOfText;
  assert.deepEqual(ends({}), [], "a file that is not named is not read");
  assert.deepEqual(ends({ config: file }), [2]);
  assert.deepEqual(ends({ config: file, endOfText: [7, 2] }), [2, 7]);
  assert.deepEqual(ends({ endOfText: [7] }), [7]);
  assert.throws(
    () => ends({ config: { ...file, sha256: "0".repeat(64) } }),
    /tokenizer_config\.json: its SHA/,
  );
  assert.throws(() => ends({ endOfText: [300] }), /tokenizer\.endOfText\[0\]: found 300, expected below/);
});

Deno.test("a template of chats comes from its own file, else from the config, else it is the plain one", () => {
  const tokenizer = letters(20);
  const config = encode(JSON.stringify({ bos_token: "<s>", chat_template: "in config" }));
  const chatTemplate = encode("{{ bos_token }}{% for it in messages %}[{{ it.content }}]{% endfor %}");
  const render = (more: object) =>
    openNamedChatTemplate(manifest(named(tokenizer, more)), { tokenizer, config, chatTemplate })
      .render([{ role: "user", content: "hi" }]);
  const inConfig = { config: { file: "c.json", sha256: sha256(config) } };
  const inFile = { chatTemplate: { file: "t.jinja", sha256: sha256(chatTemplate) } };
  assert.equal(render({}), "User: hi\nAssistant:");
  assert.equal(render(inConfig), "in config");
  assert.equal(render({ ...inConfig, ...inFile }), "<s>[hi]");
  assert.equal(render(inFile), "[hi]");
  assert.equal(openNamedChatTemplate(manifest({ kind: "bytes" })).render([]), "Assistant:");
  const another = { chatTemplate: { ...inFile.chatTemplate, sha256: "0".repeat(64) } };
  assert.throws(() => render(another), /t\.jinja: its SHA-256 is/);
});
