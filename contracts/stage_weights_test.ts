import assert from "node:assert/strict";
import fc from "fast-check";
import { stageWeights } from "./stage_weights.ts";

Deno.test("weights add up to the whole, are never 0, and follow the work", () => {
  assert.deepEqual(stageWeights([1]), [10_000]);
  assert.deepEqual(stageWeights([2, 2, 2]), [3_334, 3_333, 3_333]);
  const work = fc.array(fc.double({ min: 1e-3, max: 1e15, noNaN: true }), { minLength: 1, maxLength: 256 });
  fc.assert(fc.property(work, (work) => {
    const weights = stageWeights(work);
    assert.equal(weights.reduce((sum, it) => sum + it, 0), 10_000);
    weights.forEach((weight, stage) => {
      assert.ok(weight >= 1 && Number.isInteger(weight));
      weights.forEach((other, elsewhere) => assert.ok(work[stage] <= work[elsewhere] || weight >= other - 1));
    });
  }));
});

Deno.test("what has no work has no weight", () => {
  for (const work of [[], [1, 0], [NaN], [-1]]) assert.throws(() => stageWeights(work), RangeError);
});
