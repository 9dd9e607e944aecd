import assert from "node:assert/strict";
import fc from "fast-check";
import { leastPriority } from "./choice.ts";

Deno.test("the least priority is chosen, whatever the lot", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ priority: fc.integer({ min: 0, max: 5 }) }), { minLength: 1 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (candidates, lot) => {
        const chosen = leastPriority(candidates, () => lot)!;
        assert.ok(candidates.includes(chosen));
        assert.equal(chosen.priority, Math.min(...candidates.map(({ priority }) => priority)));
      },
    ),
  );
  assert.equal(leastPriority([], () => 0), undefined);
});

Deno.test("equals are drawn evenly", () => {
  const candidates = ["a", "b", "c"].map((name) => ({ name, priority: 1 }));
  const counts = new Map<string, number>();
  // All pairs of lots on a grid, instead of a sample of them.
  for (let first = 0; first < 30; first++) {
    for (let second = 0; second < 30; second++) {
      const lots = [(first + 0.5) / 30, (second + 0.5) / 30];
      const { name } = leastPriority(candidates, () => lots.shift()!)!;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  assert.deepEqual([...counts.values()], [300, 300, 300]);
});
