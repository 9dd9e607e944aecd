import assert from "node:assert/strict";
import fc from "fast-check";
import { sampleToken } from "./sample.ts";

const never = () => assert.fail("nothing is to be drawn");
const logitsOf = fc.float32Array({ minLength: 1, maxLength: 50, min: -50, max: 50, noNaN: true });

Deno.test("temperature 0 takes the likeliest and draws nothing; of equals the first", () => {
  assert.equal(sampleToken(Float32Array.of(1, 3, 3, 2), { temperature: 0, topK: 0 }, never), 1);
  assert.equal(sampleToken(Float32Array.of(-Infinity, -5), { temperature: 0, topK: 0 }, never), 1);
});

Deno.test("a token outside the k likeliest is never drawn", () => {
  fc.assert(
    fc.property(
      logitsOf,
      fc.integer({ min: 1, max: 60 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (logits, topK, draw) => {
        const token = sampleToken(logits, { temperature: 1, topK }, () => draw);
        const better = logits.filter((logit, other) =>
          logit > logits[token]! || (logit === logits[token] && other < token)
        );
        assert.ok(better.length < topK);
      },
    ),
  );
});

Deno.test("tokens are drawn as often as their softmax says", () => {
  const logits = Float32Array.of(0, Math.log(2), -Infinity, Math.log(5));
  const draws = 8000;
  const counts = [0, 0, 0, 0];
  for (let draw = 0; draw < draws; draw++) {
    counts[sampleToken(logits, { temperature: 1, topK: 0 }, () => (draw + 0.5) / draws)]!++;
  }
  assert.deepEqual(counts, [1000, 2000, 0, 5000]);
});

Deno.test("the least temperature above 0 takes the likeliest, without overflow", () => {
  const logits = Float32Array.of(-3e38, 3e38, 0);
  assert.equal(sampleToken(logits, { temperature: 1e-300, topK: 0 }, () => 0.999), 1);
});

Deno.test("what can't be sampled is refused", () => {
  const sampling = { temperature: 1, topK: 0 };
  for (const logits of [[], [NaN, 1], [Infinity], [-Infinity, -Infinity]]) {
    assert.throws(() => sampleToken(Float32Array.from(logits), sampling, never), TypeError);
  }
  for (const bad of [{ temperature: -1 }, { temperature: NaN }, { topK: -1 }, { topK: 1.5 }]) {
    assert.throws(() => sampleToken(Float32Array.of(1), { ...sampling, ...bad }, never), RangeError);
  }
});
