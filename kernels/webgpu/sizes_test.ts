import assert from "node:assert/strict";
import type { Step } from "./plan.ts";
import { layoutSizes } from "./sizes.ts";

function stepOf(sizes: Record<string, number> | undefined): Step {
  return {
    op: "add",
    dispatch: { source: [], sizes, bindings: [], workgroups: [1, 1, 1] },
    places: [],
    bytes: [],
    images: [],
  };
}

Deno.test("each step's sizes lie where a binding may begin, and equal ones lie there once", () => {
  const sizes: (Record<string, number> | undefined)[] = [
    { ROWS: 3, WIDTH: 4 },
    undefined,
    { COUNT: 7 },
    { COUNT: 3, OTHER: 4 },
  ];
  const steps = sizes.map(stepOf);
  const { words, places } = layoutSizes(steps);
  assert.deepEqual(places.get(steps[0]), { offset: 0, size: 8 });
  assert.equal(places.get(steps[1]), undefined);
  assert.deepEqual(places.get(steps[2]), { offset: 256, size: 4 });
  assert.deepEqual(places.get(steps[3]), { offset: 0, size: 8 });
  assert.deepEqual([words.length, words[0], words[1], words[64]], [128, 3, 4, 7]);
});

Deno.test("a size that is no unsigned number is refused", () => {
  for (const size of [-1, 1.5, 2 ** 32, NaN]) {
    assert.throws(() => layoutSizes([stepOf({ COUNT: size })]), {
      name: "TypeError",
      message: `Cannot plan add: COUNT is ${size}, expected an unsigned number of 32 bits`,
    });
  }
});
