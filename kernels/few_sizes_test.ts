import assert from "node:assert/strict";
import fc from "fast-check";
import { roundedUp } from "./few_sizes.ts";

Deno.test("sizes are few, hold what they are for, and leave little empty", () => {
  const powers = [1, 4, 8] as const;
  fc.assert(
    fc.property(
      fc.nat(2 ** 31 - 1),
      fc.constantFrom(...powers),
      fc.constantFrom(1, 256),
      (size, per, step) => {
        const rounded = roundedUp(size, per, step);
        assert.ok(rounded >= size && rounded - size < Math.max(step, size / per));
        assert.equal(rounded % step, 0);
        assert.equal(roundedUp(rounded, per, step), rounded);
      },
    ),
  );
  const sizes = new Set(Array.from({ length: 1024 }, (_, index) => roundedUp(1024 + index, 8)));
  assert.deepEqual([...sizes], [1024, 1152, 1280, 1408, 1536, 1664, 1792, 1920, 2048]);
  assert.equal(roundedUp(0, 8), 0);
});
