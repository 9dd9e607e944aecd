import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { huggingFaceTokenizer } from "./huggingface_tokenizer.ts";
import { TextStream } from "./text_stream.ts";

/** Bytes as a tokenizer of the GPT-2 kind spells them: printable ones as themselves. */
function byteAlphabet(): string[] {
  const letters: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters.push(String.fromCodePoint(printable ? byte : next++));
  }
  return letters;
}

/** A small tokenizer of bytes with two merges and an end-of-text token. */
function tiny(): Record<string, unknown> {
  const vocabulary = [...byteAlphabet(), "Ġt", "he"];
  return {
    version: "1.0",
    added_tokens: [{
      id: 258,
      content: "<end>",
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    }],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
      merges: ["Ġ t", "h e"],
    },
  };
}

const tokenizer = huggingFaceTokenizer(JSON.stringify(tiny()), JSON.stringify({ eos_token: "<end>" }));

Deno.test("huggingFaceTokenizer merges as its file says", () => {
  assert.equal(tokenizer.vocabulary, 259);
  assert.deepEqual([...tokenizer.encode("a the")], [97, 256, 257].map((id, i) => i === 0 ? idOf("a") : id));
  assert.deepEqual(tokenizer.endOfText, [258]);
  assert.equal(tokenizer.beginOfText, undefined);
});

function idOf(letter: string): number {
  return byteAlphabet().indexOf(letter);
}

Deno.test("a text opens with what the file puts there, or its config has put there, and not with what is only named", () => {
  const opened = (id: string) => ({
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { [id]: { id, ids: [258], tokens: [id] } },
  });
  const closed = { ...opened("<end>"), single: opened("<end>").single.toReversed() };
  const begin = (processor: object | null, config: object) =>
    huggingFaceTokenizer(
      JSON.stringify({ ...tiny(), post_processor: processor }),
      JSON.stringify(config),
    ).beginOfText;
  const named = { bos_token: "<end>" };
  assert.equal(begin(opened("<end>"), {}), 258);
  const bytes = { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true };
  assert.equal(
    begin({ type: "Sequence", processors: [bytes, opened("<end>")] }, {}),
    258,
    "as Llama 3 has it",
  );
  assert.equal(begin(bytes, named), undefined, "as Qwen has it");
  assert.equal(begin(opened("<end>"), { ...named, add_bos_token: false }), undefined);
  assert.equal(begin(closed, named), undefined, "what stands behind a text does not open it");
  assert.equal(begin(null, named), undefined, "as SmolLM and others have it");
  assert.equal(begin(null, { ...named, add_bos_token: true }), 258);
  assert.equal(begin(null, { ...named, tokenizer_class: "LlamaTokenizer" }), 258);
  assert.equal(begin(null, { tokenizer_class: "LlamaTokenizer" }), undefined);
});

Deno.test("huggingFaceTokenizer undoes itself", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => {
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
  }));
  assert.equal(
    tokenizer.decode(tokenizer.encode("Hello , world ! I 'm here .")),
    "Hello , world ! I 'm here .",
  );
});

Deno.test("huggingFaceTokenizer shows no special tokens", () => {
  assert.equal(tokenizer.decode([...tokenizer.encode("x"), 258]), "x");
  assert.equal(tokenizer.decode([258]), "");
  assert.equal(tokenizer.decode([]), "");
});

Deno.test("TextStream of a Hugging Face tokenizer never cuts a character", () => {
  const stream = new TextStream(tokenizer);
  const texts = [...tokenizer.encode("the 🐦 the é")].map((id) => stream.push(id));
  assert.ok(texts.every((text) => !text.includes("\ufffd")));
  assert.equal(texts.join("") + stream.end(), "the 🐦 the é");
});

Deno.test("huggingFaceTokenizer refuses ids outside its vocabulary", () => {
  for (const id of [-1, 259, 0.5]) assert.throws(() => tokenizer.decode([id]), RangeError);
});

const hostile: readonly [why: string, json: string][] = [
  ["no JSON", "{"],
  ["null", "null"],
  ["a list", "[]"],
  ["an empty object", "{}"],
  ["an unknown model", JSON.stringify({ ...tiny(), model: { type: "Oracle", vocab: {} } })],
  ["an unknown decoder", JSON.stringify({ ...tiny(), decoder: { type: "Oracle" } })],
  ["a model that is a number", JSON.stringify({ ...tiny(), model: 7 })],
  ["added tokens that are no list", JSON.stringify({ ...tiny(), added_tokens: 7 })],
  ["an id that would fill memory", JSON.stringify(tiny()).replace('"id":258', '"id":4000000000')],
];

for (const [why, json] of hostile) {
  Deno.test(`huggingFaceTokenizer refuses ${why}`, () => {
    assert.throws(() => huggingFaceTokenizer(json), {
      name: "TypeError",
      message: /Cannot read tokenizer\.json/,
    });
  });
}

const published = new URL("../../shared/models/aidreams-260k/tokenizer.json", import.meta.url);
const json = readIfThere(published);

Deno.test({
  name: "a published tokenizer undoes itself" + (json ? "" : " (skipped: no model beside the repository)"),
  ignore: json === undefined,
  fn() {
    const sentence = huggingFaceTokenizer(
      json!,
      JSON.stringify({ eos_token: { content: "</s>" } }),
    );
    assert.equal(sentence.vocabulary, 512);
    assert.deepEqual([sentence.beginOfText, sentence.endOfText], [1, [2]]);
    const text = "Echoes of vectors unfold, as I sense 12 nodes — und größer 🐦!";
    const ids = sentence.encode(text);
    assert.equal(sentence.decode(ids), text);
    const stream = new TextStream(sentence);
    assert.equal([...ids].map((id) => stream.push(id)).join("") + stream.end(), text);
  },
});

function readIfThere(url: URL): string | undefined {
  try {
    return readFileSync(url, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return undefined;
  }
}
