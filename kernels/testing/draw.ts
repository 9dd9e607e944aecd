/** Numbers and sizes for the cases of ops, from fast-check's seeds. */

import fc from "fast-check";
import { elementCount } from "../shapes.ts";
import type { Draw, Sizes } from "./op_cases.ts";
import { randomFrom } from "./random.ts";

/** Sizes from 1, odd ones among them, small enough for formulas. */
export const sizes: fc.Arbitrary<Sizes> = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  length: fc.integer({ min: 1, max: 7 }),
  past: fc.integer({ min: 0, max: 3 }),
  width: fc.integer({ min: 1, max: 9 }),
  outer: fc.integer({ min: 1, max: 9 }),
  keyValueHeads: fc.integer({ min: 1, max: 3 }),
  group: fc.integer({ min: 1, max: 3 }),
  half: fc.integer({ min: 1, max: 4 }),
  vocabulary: fc.integer({ min: 1, max: 11 }),
});

/** Draws from a seed; floats lie in −scale … scale. */
export function drawFrom(seed: number, scale: number): Draw {
  const random = randomFrom(seed);
  const fill = (shape: readonly number[], element: () => number) => ({
    shape,
    data: Array.from({ length: elementCount(shape) }, element),
  });
  return {
    floats: (...shape) => fill(shape, () => Math.fround((2 * random() - 1) * scale)),
    between: (least, most, ...shape) => fill(shape, () => Math.fround(least + random() * (most - least))),
    integers: (least, most, ...shape) => fill(shape, () => least + Math.floor(random() * (most - least + 1))),
  };
}
