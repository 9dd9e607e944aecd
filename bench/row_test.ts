import assert from "node:assert/strict";
import fc from "fast-check";
import { type BenchRow, isMet, median } from "./row.ts";

const row: BenchRow = { name: "x", value: 2, unit: "s", ratio: 0.5 };

Deno.test("A row without a target is neither met nor missed", () => {
  assert.equal(isMet(row), undefined);
});

Deno.test("A target is met on its bound and missed beyond it", () => {
  assert.equal(isMet({ ...row, target: { of: "value", atMost: 2 } }), true);
  assert.equal(isMet({ ...row, target: { of: "value", atMost: 1.9 } }), false);
  assert.equal(isMet({ ...row, target: { of: "ratio", atLeast: 0.5 } }), true);
  assert.equal(isMet({ ...row, target: { of: "ratio", atLeast: 0.51 } }), false);
});

Deno.test("A figure that is missing or no number meets nothing", () => {
  assert.equal(isMet({ ...row, ratio: undefined, target: { of: "ratio", atLeast: 0 } }), false);
  assert.equal(isMet({ ...row, value: NaN, target: { of: "value", atMost: 1 } }), false);
});

Deno.test("As many numbers lie below the median as above it, in whatever order they come", () => {
  fc.assert(fc.property(fc.array(fc.integer(), { minLength: 1 }), (numbers) => {
    const middle = median(numbers);
    const below = numbers.filter((number) => number < middle).length;
    const above = numbers.filter((number) => number > middle).length;
    assert.ok(below <= numbers.length / 2 && above <= numbers.length / 2);
    assert.equal(median(numbers.toReversed()), middle);
  }));
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
});
