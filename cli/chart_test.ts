import assert from "node:assert/strict";
import fc from "fast-check";
import { chart, resample } from "./chart.ts";

const points = (losses: readonly number[]) => losses.map((loss, index) => ({ step: index + 1, loss }));

Deno.test("a chart stays within its size and says which steps it spans", () => {
  fc.assert(fc.property(
    fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 1, maxLength: 300 }),
    fc.integer({ min: 24, max: 200 }),
    fc.integer({ min: 3, max: 40 }),
    (losses, columns, rows) => {
      const lines = chart(points(losses), { columns, rows }).split("\n");
      assert.ok(lines.length <= rows, `${lines.length} of ${rows} rows`);
      for (const line of lines) assert.ok(line.length <= columns, `${line.length} of ${columns} columns`);
      assert.match(lines.at(-1)!, new RegExp(`step 1 +step ${losses.length}$`));
    },
  ));
});

Deno.test("nothing to draw is no chart, and what is not finite is left out", () => {
  assert.equal(chart([], { columns: 80, rows: 10 }), "");
  assert.equal(chart(points([NaN, Infinity]), { columns: 80, rows: 10 }), "");
  assert.doesNotMatch(chart(points([3, NaN, 1]), { columns: 80, rows: 10 }), /NaN/);
});

Deno.test("resampling keeps ends, means and bounds", () => {
  assert.deepEqual(resample([1, 3], 3), [1, 2, 3]);
  assert.deepEqual(resample([1, 3, 5, 7], 2), [2, 6]);
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 100 }),
    fc.integer({ min: 1, max: 100 }),
    (values, columns) => {
      const fitted = resample(values, columns);
      assert.equal(fitted.length, columns);
      for (const value of fitted) assert.ok(value >= Math.min(...values) && value <= Math.max(...values));
    },
  ));
});
