import assert from "node:assert/strict";
import fc from "fast-check";
import { type DrawnToken, GREEDY, type Sampling } from "../run/mod.ts";
import { drawToken } from "./draw.ts";
import type { Draw } from "./sessions.ts";

const NO_TEXT = new Int32Array();
const wish = (sampling: Partial<Sampling>, uniform = 0, text = NO_TEXT, promptTokens = 0): Draw => ({
  sampling: { ...GREEDY, ...sampling },
  uniform,
  text,
  promptTokens,
});

/** The same by sorting, in the words of each rule. `undefined` where rounding may decide. */
function slowly(logits: readonly number[], { sampling, uniform, text, promptTokens }: Draw) {
  const added = [...text.subarray(promptTokens)];
  const known = sampling.vocabulary === 0 ? logits : logits.slice(0, sampling.vocabulary);
  const wished = known.map((logit, token) => {
    let wished = logit;
    const penalty = sampling.repetitionPenalty;
    if (text.includes(token)) wished = wished > 0 ? wished / penalty : wished * penalty;
    wished = Math.fround(wished);
    if (added.includes(token)) {
      const times = added.filter((other) => other === token).length;
      wished = Math.fround(wished - sampling.presencePenalty - sampling.frequencyPenalty * times);
    }
    for (const { token: biased, bias } of sampling.logitBias) {
      if (biased === token) wished = Math.fround(wished + bias);
    }
    return wished;
  });
  let left = wished.map((_, token) => token).sort((a, b) => wished[b] - wished[a] || a - b);
  if (sampling.temperature === 0) return left[0];
  const sum = (tokens: number[]) => tokens.reduce((total, token) => total + weight(token), 0);
  const weight = (token: number) => Math.exp((wished[token] - wished[left[0]]) / sampling.temperature);
  if (sampling.topK > 0) left = left.slice(0, sampling.topK);
  const all = sum(left);
  const close = (a: number, b: number) => Math.abs(a - b) < 1e-9 * all;
  if (sampling.topP < 1) {
    const needed = left.findIndex((_, place) => sum(left.slice(0, place + 1)) >= sampling.topP * all);
    if (needed > 0 && close(sum(left.slice(0, needed)), sampling.topP * all)) return undefined;
    if (needed < left.length - 1 && close(sum(left.slice(0, needed + 1)), sampling.topP * all)) {
      return undefined;
    }
    left = left.slice(0, needed + 1);
  }
  left.sort((a, b) => a - b);
  const place = left.findIndex((_, place) => sum(left.slice(0, place + 1)) > uniform * sum(left));
  if (place > 0 && close(sum(left.slice(0, place)), uniform * sum(left))) return undefined;
  if (place < left.length - 1 && close(sum(left.slice(0, place + 1)), uniform * sum(left))) return undefined;
  return left[place];
}

/** Many equals, and values of every size. */
const logitsOf = fc.oneof(
  fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 1, maxLength: 40 }),
  fc.array(fc.float({ min: -30, max: 30, noNaN: true }), { minLength: 1, maxLength: 40 }),
);
const token = fc.integer({ min: 0, max: 50 });
const drawOf: fc.Arbitrary<Draw> = fc.record({
  sampling: fc.record({
    vocabulary: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 50 })),
    temperature: fc.oneof(fc.constant(0), fc.constant(1), fc.double({ min: 1e-6, max: 100, noNaN: true })),
    topK: fc.integer({ min: 0, max: 45 }),
    topP: fc.oneof(fc.constant(1), fc.double({ min: 1e-6, max: 1, noNaN: true })),
    repetitionPenalty: fc.oneof(fc.constant(1), fc.double({ min: 0.01, max: 100, noNaN: true })),
    presencePenalty: fc.oneof(fc.constant(0), fc.double({ min: -3, max: 3, noNaN: true })),
    frequencyPenalty: fc.oneof(fc.constant(0), fc.double({ min: -3, max: 3, noNaN: true })),
    logitBias: fc.array(fc.record({ token, bias: fc.double({ min: -5, max: 5, noNaN: true }) }), {
      maxLength: 3,
    }),
    seed: fc.constant(0),
    topLogProbabilities: fc.integer({ min: 0, max: 20 }),
  }),
  uniform: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  text: fc.array(token, { maxLength: 20 }).map((tokens) => Int32Array.from(tokens)),
  promptTokens: fc.integer({ min: 0, max: 20 }),
});

Deno.test("the token drawn is the one that sorting and adding up find", () => {
  let compared = 0;
  fc.assert(
    fc.property(logitsOf, drawOf, (logits, draw) => {
      const expected = slowly(logits, draw);
      if (expected === undefined) return;
      compared++;
      assert.equal(drawToken(Float32Array.from(logits), draw).token, expected);
    }),
    { numRuns: 2000 },
  );
  assert.ok(compared > 1000, `only ${compared} were clear enough to compare`);
});

Deno.test("log-probabilities are the model's own, whatever was wished, and add up to 1", () => {
  fc.assert(fc.property(logitsOf, drawOf, (logits, draw) => {
    const { vocabulary, topLogProbabilities: wanted } = draw.sampling;
    const own = logits.slice(0, vocabulary || logits.length);
    const all = drawToken(Float32Array.from(own), wish({ topLogProbabilities: own.length })).top;
    const sum = all.reduce((total, { logProbability }) => total + Math.exp(logProbability), 0);
    assert.ok(Math.abs(sum - 1) < 1e-9);
    const sorted = own.map((_, token) => token).sort((a, b) => own[b] - own[a] || a - b);
    assert.deepEqual(all.map(({ token }) => token), sorted);

    const { token, logProbability, top } = drawToken(Float32Array.from(logits), draw);
    assert.deepEqual(top, all.slice(0, wanted));
    assert.equal(logProbability, all.find((one) => one.token === token)!.logProbability);
  }));
});

Deno.test("temperature 0 takes the likeliest; of equals the first", () => {
  assert.equal(drawToken(Float32Array.of(1, 3, 3, 2), wish({}, 0.9)).token, 1);
  assert.equal(drawToken(Float32Array.of(-0, 0), wish({}, 0.9)).token, 0);
});

Deno.test("tokens are drawn as often as their probabilities say", () => {
  const logits = Float32Array.of(0, Math.log(2), -1e30, Math.log(5));
  const frequencies = (sampling: Partial<Sampling>) => {
    const counts = [0, 0, 0, 0];
    for (let draw = 0; draw < 8000; draw++) {
      counts[drawToken(logits, wish({ temperature: 1, ...sampling }, (draw + 0.5) / 8000)).token]++;
    }
    return counts;
  };
  assert.deepEqual(frequencies({}), [1000, 2000, 0, 5000]);
  assert.deepEqual(frequencies({ topK: 1 }), [0, 0, 0, 8000]);
  assert.deepEqual(frequencies({ topP: 0.6 }), [0, 0, 0, 8000]);
  assert.deepEqual(frequencies({ topK: 2, topP: 0.72 }), [0, 2286, 0, 5714]);
  assert.deepEqual(frequencies({ vocabulary: 2 }), [2667, 5333, 0, 0]);
});

Deno.test("the greatest draw takes the last token, whatever rounding leaves over", () => {
  const uniform = 1 - 2 ** -53;
  assert.equal(
    drawToken(Float32Array.of(1, -2, 0), wish({ temperature: 0.967008709823488 }, uniform)).token,
    2,
  );
  assert.equal(drawToken(Float32Array.of(1, 0, -1e30), wish({ temperature: 1 }, uniform)).token, 1);
});

Deno.test("extreme numbers stay numbers", () => {
  const greatest = 3.4e38;
  const logits = Float32Array.of(-greatest, greatest, 0, greatest);
  const extremes: Partial<Sampling>[] = [
    { temperature: 5e-324 },
    { temperature: 5e-324, topK: 3, topP: 1e-300 },
    { temperature: 100, repetitionPenalty: 0.01 },
    { temperature: 1, repetitionPenalty: 100, logitBias: [{ token: 3, bias: 1000 }] },
  ];
  for (const sampling of extremes) {
    const drawn: DrawnToken = drawToken(logits, wish(sampling, 0, Int32Array.of(0, 1, 2, 3)));
    assert.equal(drawn.token, 1, JSON.stringify(sampling));
    assert.ok(Number.isFinite(drawn.logProbability));
  }
});

Deno.test("tokens beyond the vocabulary have no effect", () => {
  const logits = Float32Array.of(1, 2);
  const text = Int32Array.of(7, 2 ** 31 - 1, -1);
  const sampling = { repetitionPenalty: 2, frequencyPenalty: 1, logitBias: [{ token: 9, bias: 100 }] };
  assert.deepEqual(drawToken(logits, wish(sampling, 0, text)), drawToken(logits, wish({})));
});
