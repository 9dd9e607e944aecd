import assert from "node:assert/strict";
import fc from "fast-check";
import { updateScale } from "./clipping.ts";

Deno.test("updateScale averages over tokens while the norm is within bounds", () => {
  assert.deepEqual(updateScale(16, 8, 1), { scale: 1 / 8, gradientNorm: 0.5 });
});

Deno.test("updateScale shortens a long gradient to the bound", () => {
  assert.deepEqual(updateScale(64, 2, 1), { scale: 1 / 8, gradientNorm: 4 });
});

Deno.test("updateScale leaves all gradients as they are with a bound of 0", () => {
  assert.deepEqual(updateScale(64, 2, 0), { scale: 1 / 2, gradientNorm: 4 });
});

Deno.test("updateScale never lets the norm of the update exceed the bound", () => {
  const positive = fc.double({ min: 1e-6, max: 1e12, noNaN: true });
  fc.assert(fc.property(positive, fc.integer({ min: 1, max: 1e9 }), positive, (squares, tokens, bound) => {
    const { scale } = updateScale(squares, tokens, bound);
    assert.ok(Math.sqrt(squares) * scale <= bound * (1 + 1e-12));
  }));
});

for (const [squares, tokens] of [[NaN, 1], [Infinity, 1], [-1, 1], [1, 0], [1, 1.5], [1, NaN]]) {
  Deno.test(`updateScale refuses a square sum of ${squares} over ${tokens} tokens`, () => {
    assert.throws(() => updateScale(squares, tokens, 1), RangeError);
  });
}
