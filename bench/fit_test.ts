import assert from "node:assert/strict";
import fc from "fast-check";
import { fitLine } from "./fit.ts";

const near = (actual: number, expected: number) =>
  assert.ok(
    Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected)),
    `${actual}, not ${expected}`,
  );

Deno.test("A line is found through its own points", () => {
  const figure = fc.integer({ min: -1000, max: 1000 });
  fc.assert(fc.property(figure, figure, fc.integer({ min: 2, max: 50 }), (slope, offset, count) => {
    const line = fitLine(Array.from({ length: count }, (_, x) => [x, offset + slope * x]));
    near(line.slope, slope);
    near(line.offset, offset);
  }));
});

Deno.test("Noise on both sides of a line does not bend it", () => {
  near(fitLine([[0, 1], [0, -1], [4, 9], [4, 7]]).slope, 2);
});

Deno.test("Fewer than two places make out no line", () => {
  assert.ok(Number.isNaN(fitLine([]).slope));
  assert.ok(Number.isNaN(fitLine([[3, 1], [3, 2]]).slope));
});
