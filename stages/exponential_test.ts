import assert from "node:assert/strict";
import fc from "fast-check";
import { exponential } from "./exponential.ts";

Deno.test("exponential agrees with Math.exp, from 1 down to nothing", () => {
  fc.assert(fc.property(fc.double({ min: -700, max: 0, noNaN: true }), (x) => {
    assert.ok(Math.abs(exponential(x) - Math.exp(x)) <= 1e-12 * Math.exp(x), `${x}`);
  }));
  assert.equal(exponential(0), 1);
  assert.equal(exponential(-0), 1);
  for (const x of [-746, -1e300, -Infinity]) assert.equal(exponential(x), 0);
  for (let x = -700; x > -750; x -= 0.01) assert.ok(Math.abs(exponential(x) - Math.exp(x)) < 1e-300);
});
