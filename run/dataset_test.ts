import assert from "node:assert/strict";
import fc from "fast-check";
import { byteTokenizer } from "./byte_tokenizer.ts";
import { Dataset, type DatasetSource } from "./dataset.ts";
import { parseManifest } from "./manifest.ts";

function source(changes: Record<string, unknown> = {}): DatasetSource {
  return parseManifest(JSON.stringify({
    version: 1,
    name: "data",
    model: { vocabulary: 1000, width: 8, layers: 1, heads: 1 },
    stages: 1,
    sequenceLength: 8,
    sequencesPerMicroBatch: 3,
    microBatchesPerStep: 2,
    steps: 10,
    ...changes,
  }));
}

/** Tokens that tell their own place. */
const counting = (length: number) => Int32Array.from({ length }, (_, index) => index);

Deno.test("a micro-batch holds sequences of the training part, and what follows each token", () => {
  const dataset = new Dataset(source(), counting(1000));
  assert.equal(dataset.trainingTokens, 900);
  assert.equal(dataset.validationTokens, 100);
  fc.assert(fc.property(fc.nat(1000), fc.nat(100), (step, index) => {
    const { tokens, targets } = dataset.microBatch(step, index);
    assert.equal(tokens.length, 24);
    for (let row = 0; row < 3; row++) {
      const start = tokens[row * 8];
      assert.deepEqual([...tokens.subarray(row * 8, row * 8 + 8)], [...counting(8)].map((t) => start + t));
    }
    assert.deepEqual([...targets], [...tokens].map((token) => token + 1));
    assert.ok(Math.max(...targets) < 900);
  }));
});

Deno.test("data is named after what is trained on, and nothing else", () => {
  const corpus = (tokens: Int32Array) => new Dataset(source(), tokens).corpus;
  assert.match(corpus(counting(1000)), /^[0-9a-f]{64}$/);
  assert.equal(corpus(counting(1000)), corpus(counting(1000)));
  assert.equal(corpus(counting(1000)), corpus(counting(1000).fill(0, 900)), "the end is for validation");
  assert.notEqual(corpus(counting(1000)), corpus(counting(1000).fill(0, 899)));
});

Deno.test("a validation batch comes from the end, and is the same at every step", () => {
  const dataset = new Dataset(source(), counting(1000));
  const batch = dataset.validationBatch(0);
  assert.ok(Math.min(...batch.tokens) >= 900);
  assert.deepEqual(dataset.validationBatch(0), batch);
  assert.notDeepEqual(dataset.validationBatch(1), batch);
});

Deno.test("the order depends on seed, step and index, and on nothing else", () => {
  const dataset = new Dataset(source(), counting(1000));
  const batch = dataset.microBatch(3, 1);
  dataset.microBatch(9, 9);
  assert.deepEqual(dataset.microBatch(3, 1), batch);
  assert.deepEqual(new Dataset(source(), counting(1000)).microBatch(3, 1), batch);
  assert.notDeepEqual(dataset.microBatch(1, 3), batch);
  assert.notDeepEqual(new Dataset(source({ seed: 1 }), counting(1000)).microBatch(3, 1), batch);
});

Deno.test("the order does not change from one release to the next", () => {
  const { tokens } = new Dataset(source(), counting(1000)).microBatch(3, 1);
  assert.deepEqual([tokens[0], tokens[8], tokens[16]], [559, 599, 441]);
});

Deno.test("every place of the data can be drawn, the last one included", () => {
  const dataset = new Dataset(source({ validation: { fraction: 0 } }), counting(12));
  const starts = new Set<number>();
  for (let step = 0; step < 100; step++) starts.add(dataset.microBatch(step, 0).tokens[0]);
  assert.deepEqual([...starts].sort(), [0, 1, 2, 3]);
});

Deno.test("what one caller does to a batch, no other sees", () => {
  const dataset = new Dataset(source(), counting(1000));
  const before = dataset.microBatch(0, 0).tokens.slice();
  dataset.microBatch(0, 0).tokens.fill(7);
  assert.deepEqual(dataset.microBatch(0, 0).tokens, before);
});

Deno.test("fromTexts joins texts in their order", () => {
  const dataset = Dataset.fromTexts(
    source({ validation: { fraction: 0 }, sequencesPerMicroBatch: 1 }),
    byteTokenizer,
    ["abcd", "efghi"],
  );
  assert.equal(byteTokenizer.decode(dataset.microBatch(0, 0).tokens), "abcdefgh");
});

Deno.test("data shorter than a sequence is refused", () => {
  assert.throws(() => new Dataset(source({ validation: { fraction: 0 } }), counting(8)), {
    name: "RangeError",
    message: "Cannot cut sequences of training: it holds 8 tokens, one takes 9",
  });
  assert.throws(() => new Dataset(source(), counting(50)), /sequences of validation: it holds 5 tokens/);
  assert.throws(() => Dataset.fromTexts(source(), byteTokenizer, []), RangeError);
  const unvalidated = new Dataset(source({ validation: { fraction: 0 } }), counting(100));
  assert.throws(() => unvalidated.validationBatch(0), /sequences of validation: it holds 0 tokens/);
});

Deno.test("tokens that the model does not know are refused", () => {
  assert.throws(() => new Dataset(source(), counting(1001)), /its id is 1000, and the vocabulary holds 1000/);
  assert.throws(() => new Dataset(source(), counting(100).map((token) => token - 1)), RangeError);
});

Deno.test("steps that no counter holds are refused", () => {
  const dataset = new Dataset(source(), counting(1000));
  for (const step of [-1, 1.5, NaN, 2 ** 32]) assert.throws(() => dataset.microBatch(step, 0), RangeError);
});
