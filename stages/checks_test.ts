import assert from "node:assert/strict";
import fc from "fast-check";
import { firstNotFinite } from "./checks.ts";

Deno.test("what is not finite is found wherever it stands, whatever stands beside it", () => {
  const value = fc.oneof(
    { weight: 20, arbitrary: fc.float({ noNaN: true, noDefaultInfinity: true }) },
    { weight: 1, arbitrary: fc.constantFrom(NaN, Infinity, -Infinity) },
    { weight: 2, arbitrary: fc.constantFrom(3.4028234663852886e38, -3.4028234663852886e38, -0) },
  );
  let found = 0;
  fc.assert(
    fc.property(fc.array(value, { maxLength: 40 }), (values) => {
      const expected = values.findIndex((value) => !Number.isFinite(value));
      if (expected >= 0) found++;
      assert.equal(firstNotFinite(Float32Array.from(values)), expected);
      assert.equal(firstNotFinite(values), expected);
    }),
    { numRuns: 500 },
  );
  assert.ok(found > 50);
});
