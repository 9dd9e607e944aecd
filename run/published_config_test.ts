import assert from "node:assert/strict";
import fc from "fast-check";
import { byteTokenizer } from "./byte_tokenizer.ts";
import { publishedModel } from "./huggingface_config.ts";
import { huggingFaceTokenizer } from "./huggingface_tokenizer.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { byteTokenizerFile, publishedConfig } from "./published_config.ts";

const state = { type: "BF16", endOfText: [2], run: "ab", step: 7 } as const;

function manifestOf(model: object): Manifest {
  return parseManifest(JSON.stringify({
    version: 1,
    name: "it",
    model: { vocabulary: 300, width: 32, layers: 2, heads: 4, ...model },
    stages: 1,
    sequenceLength: 64,
    sequencesPerMicroBatch: 1,
    microBatchesPerStep: 1,
    steps: 1,
  }));
}

const models: Readonly<Record<string, object>> = {
  llama: {
    keyValueHeads: 2,
    ropeScaling: {
      kind: "llama3",
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalLength: 32,
    },
  },
  qwen2: { attentionBias: true, ropeTheta: 1e6, ropeScaling: { kind: "linear", factor: 2 } },
  qwen3: { queryKeyNorm: true, headWidth: 16, normEpsilon: 1e-6, hidden: 40 },
};

for (const [family, model] of Object.entries(models)) {
  Deno.test(`a model of the family of ${family} is read from what was written of it`, () => {
    const manifest = manifestOf(model);
    const text = publishedConfig(manifest, state);
    assert.equal(JSON.parse(text).model_type, family);
    assert.deepEqual(publishedModel(text), {
      model: manifest.model,
      tiedHead: false,
      sequenceLength: 64,
      endOfText: [2],
    });
    assert.equal(JSON.parse(text).torch_dtype, "bfloat16");
    assert.deepEqual(JSON.parse(text).murmuration, { run: "ab", step: 7 });
  });
}

Deno.test("what the original says of the same model stays, but for type and head", () => {
  const manifest = manifestOf({});
  const original = JSON.stringify({
    ...JSON.parse(publishedConfig(manifest, state)),
    model_type: "mistral",
    sliding_window: 48,
    bos_token_id: 1,
    dtype: "float32",
    tie_word_embeddings: true,
  });
  const config = JSON.parse(publishedConfig(manifest, { ...state, endOfText: [] }, original));
  assert.deepEqual([config.model_type, config.sliding_window, config.bos_token_id], ["mistral", 48, 1]);
  assert.deepEqual([config.tie_word_embeddings, config.torch_dtype, config.dtype], [
    false,
    "bfloat16",
    undefined,
  ]);
  assert.equal(config.eos_token_id, 2);
  for (const other of ["{", JSON.stringify({ ...JSON.parse(original), hidden_size: 64 })]) {
    assert.equal(JSON.parse(publishedConfig(manifest, state, other)).bos_token_id, undefined);
  }
});

Deno.test("layers that no family has are refused", () => {
  const refused = (model: object, message: RegExp) =>
    assert.throws(() => publishedConfig(manifestOf(model), state), { name: "TypeError", message });
  refused({ attentionBias: true, queryKeyNorm: true }, /no published family has both/);
  refused({ attentionBias: true, headWidth: 16 }, /together as wide as the model/);
});

Deno.test("the file of the tokenizer of bytes makes the same ids of any text, and the text of them", () => {
  const file = huggingFaceTokenizer(byteTokenizerFile());
  assert.equal(file.vocabulary, byteTokenizer.vocabulary);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      assert.deepEqual([...file.encode(text)], [...byteTokenizer.encode(text)]);
      assert.equal(file.decode(byteTokenizer.encode(text)), byteTokenizer.decode(byteTokenizer.encode(text)));
    }),
  );
});
