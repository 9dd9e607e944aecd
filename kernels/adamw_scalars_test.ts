import assert from "node:assert/strict";
import { adamwScalars } from "./adamw_scalars.ts";

const hyper = { scale: 0.5, learningRate: 0.1, beta1: 0.75, beta2: 0.5 };

Deno.test("corrections undo the start from zero", () => {
  const { scale, rate, correction1, correction2 } = adamwScalars({ step: 2, ...hyper });
  assert.deepEqual([...scale.data], [0.5]);
  assert.deepEqual([...rate.data], [Math.fround(0.1)]);
  assert.deepEqual([...correction1.data], [Math.fround(16 / 7)]);
  assert.deepEqual([...correction2.data], [Math.fround(4 / 3)]);
  assert.deepEqual(scale.shape, [1]);
});

Deno.test("steps are counted from 1", () => {
  for (const step of [0, -1, 1.5, NaN]) {
    assert.throws(
      () => adamwScalars({ step, ...hyper }),
      new TypeError(`Cannot make AdamW scalars: step is ${step}, expected 1 or more`),
    );
  }
});
