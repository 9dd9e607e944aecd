import assert from "node:assert/strict";
import fc from "fast-check";
import { publishedEndOfText, publishedModel } from "./huggingface_config.ts";

/** The least that a Llama says. */
const llama = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  vocab_size: 512,
  max_position_embeddings: 128,
};

const read = (config: object) => publishedModel(JSON.stringify(config));

Deno.test("a Llama's configuration is read, defaults filled in", () => {
  assert.deepEqual(read({ ...llama, rms_norm_eps: 1e-5, tie_word_embeddings: true, eos_token_id: 2 }), {
    model: {
      family: "llama",
      vocabulary: 512,
      width: 64,
      layers: 4,
      heads: 4,
      keyValueHeads: 4,
      headWidth: 16,
      hidden: 172,
      ropeTheta: 10_000,
      ropeScaling: { kind: "none" },
      normEpsilon: 1e-5,
      attentionBias: false,
      queryKeyNorm: false,
    },
    tiedHead: true,
    sequenceLength: 128,
    endOfText: [2],
  });
});

Deno.test("each family brings what it adds to Llama", () => {
  const qwen2 = read({
    ...llama,
    model_type: "qwen2",
    num_key_value_heads: 2,
    use_sliding_window: false,
    sliding_window: 8,
  });
  assert.equal(qwen2.model.attentionBias, true);
  assert.equal(qwen2.model.keyValueHeads, 2);
  assert.equal(qwen2.sequenceLength, 128, "a window that is not used is none");
  const qwen3 = read({ ...llama, model_type: "qwen3", head_dim: 32, eos_token_id: [5, 7] });
  assert.deepEqual([qwen3.model.queryKeyNorm, qwen3.model.headWidth], [true, 32]);
  assert.deepEqual(qwen3.endOfText, [5, 7]);
  const mistral = read({ ...llama, model_type: "mistral", sliding_window: 100, rope_theta: 1e6 });
  assert.deepEqual([mistral.sequenceLength, mistral.model.ropeTheta], [100, 1e6]);
});

Deno.test("a window bounds the sequence where it is heeded, and only there", () => {
  const length = (config: object) => read({ ...llama, sliding_window: 100, ...config }).sequenceLength;
  assert.equal(length({ model_type: "mistral" }), 100);
  assert.equal(length({ model_type: "mistral", sliding_window: null }), 128);
  assert.equal(length({ model_type: "qwen2" }), 128, "Qwen heeds a window only where it says so");
  assert.equal(length({ model_type: "qwen2", use_sliding_window: true }), 100);
  const qwen3 = { model_type: "qwen3", use_sliding_window: true };
  assert.equal(length({ ...qwen3, layer_types: ["full_attention", "full_attention"] }), 128);
  assert.equal(length({ ...qwen3, layer_types: ["full_attention", "sliding_attention"] }), 100);
});

Deno.test("what changes only training, or nothing, is no reason to refuse", () => {
  const harmless = { attention_dropout: 0.1, use_cache: false, pretraining_tp: 2, torch_dtype: "bfloat16" };
  assert.deepEqual(read({ ...llama, ...harmless }), read(llama));
});

Deno.test("ends of text are read from a generation_config.json", () => {
  assert.deepEqual(publishedEndOfText('{"eos_token_id": [5, 7], "temperature": 0.6}'), [5, 7]);
  assert.deepEqual(publishedEndOfText('{"eos_token_id": 5}'), [5]);
  assert.deepEqual(publishedEndOfText("{}"), []);
  assert.throws(() => publishedEndOfText("{"), /Cannot read generation_config\.json: it is no JSON/);
  assert.throws(
    () => publishedEndOfText('{"eos_token_id": "a"}'),
    /Cannot read generation_config\.json: config/,
  );
});

Deno.test("scalings of RoPE are read, in the older layout and the newer one", () => {
  const llama3 = {
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const expected = {
    kind: "llama3",
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalLength: 8192,
  };
  assert.deepEqual(read({ ...llama, rope_scaling: llama3 }).model.ropeScaling, expected);
  const newer = read({ ...llama, rope_parameters: { ...llama3, rope_theta: 5e5 } }).model;
  assert.deepEqual([newer.ropeScaling, newer.ropeTheta], [expected, 5e5]);
  const linear = read({ ...llama, rope_scaling: { type: "linear", factor: 2 } }).model.ropeScaling;
  assert.deepEqual(linear, { kind: "linear", factor: 2 });
});

const refused: readonly [config: object | string, message: RegExp][] = [
  ["{", /no JSON/],
  ["null", /config: /],
  [{ ...llama, model_type: "gpt2" }, /model_type is "gpt2", expected one of llama/],
  [{ ...llama, model_type: "\u001b[2J" }, /model_type is "\?\[2J"/],
  [{ ...llama, model_type: "toString" }, /model_type/],
  [{ ...llama, hidden_act: "gelu" }, /hidden_act is "gelu"/],
  [{ ...llama, hidden_size: 0 }, /config\.hidden_size/],
  [{ ...llama, vocab_size: undefined }, /config\.vocab_size/],
  [{ ...llama, mlp_bias: true }, /mlp_bias/],
  [{ ...llama, attention_bias: true }, /attention_bias/],
  [{ ...llama, partial_rotary_factor: 0.5 }, /partial_rotary_factor is 0\.5/],
  [
    { ...llama, rope_scaling: { rope_type: "yarn", factor: 4 } },
    /type "yarn", expected default, linear or llama3/,
  ],
  [{ ...llama, model_type: "mixtral" }, /model_type is "mixtral"/],
  [{ ...llama, num_local_experts: 8 }, /mixtures of experts/],
  [{ ...llama, quantization_config: { quant_method: "fp8" } }, /weights are quantized/],
  [{ ...llama, layer_types: ["linear_attention"] }, /layer_types names "linear_attention"/],
  [{ ...llama, rope_scaling: { type: "dynamic", factor: 2 } }, /type "dynamic"/],
  [{ ...llama, rope_scaling: { type: "linear" } }, /rope_scaling\.factor/],
];

for (const [config, message] of refused) {
  const text = typeof config === "string" ? config : JSON.stringify(config);
  Deno.test(`a configuration is refused: ${message.source}`, () => {
    assert.throws(() => publishedModel(text), { name: "TypeError", message });
  });
}

Deno.test("whatever is read, nothing but a TypeError is thrown", () => {
  const values = fc.record(
    Object.fromEntries(Object.keys(llama).map((key) => [key, fc.jsonValue()])),
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.json(), values.map((some) => JSON.stringify({ ...llama, ...some }))), (text) => {
      try {
        publishedModel(text);
      } catch (error) {
        assert.ok(error instanceof TypeError, String(error));
      }
    }),
  );
});
