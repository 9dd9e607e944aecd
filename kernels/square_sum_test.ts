import assert from "node:assert/strict";
import { squareSum } from "./square_sum.ts";

Deno.test("square sum is taken in float64", () => {
  assert.equal(squareSum(Float32Array.of()), 0);
  assert.equal(squareSum(Float32Array.of(3, -4)), 25);
  // In f32 the one would vanish beside 2²⁴, and the squares of 1e30 would overflow.
  assert.equal(squareSum(Float32Array.of(4096, 1)), 2 ** 24 + 1);
  assert.equal(squareSum(Float32Array.of(2 ** 100, 2 ** 100)), 2 ** 201);
});
