import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { MemoryCurves, memoryRow } from "./resident.ts";

/** Sampling reads /proc. */
const linuxOnly = { ignore: Deno.build.os !== "linux" };
const self = { name: "self", pid: Deno.pid };
/** Beyond the greatest number that Linux gives a process. */
const nobody = { name: "nobody", pid: 2 ** 22 + 1 };

/** A curve of so many points, a hundred texts apart. */
function curveOf(count: number, megabytes: (step: number, place: number) => number) {
  const points = Array.from({ length: count }, (_, place) => {
    const step = 100 * (place + 1);
    return { step, megabytes: megabytes(step, place) };
  });
  return { name: "host 1", points };
}

Deno.test("The slope of a row is what memory rises by in its second half, whatever went before", () => {
  const numbers = fc.record({
    count: fc.integer({ min: 8, max: 400 }),
    slope: fc.integer({ min: -5, max: 50 }),
    beginning: fc.integer({ min: 0, max: 1000 }),
  });
  fc.assert(fc.property(numbers, ({ count, slope, beginning }) => {
    const half = Math.floor(count / 2);
    const curve = curveOf(count, (step, place) => place < half ? beginning : 500 + slope * step / 1000);
    const { value, unit } = memoryRow(curve, "texts");
    assert.ok(Math.abs(value - slope) < 1e-6, `${value}, expected ${slope}`);
    assert.equal(unit, "MB per 1000 texts");
  }));
});

Deno.test("The ratio of a row compares the least of its last two quarters, past garbage that comes and goes", () => {
  const saw = curveOf(40, (_, place) => 300 + 10 * (place % 5));
  assert.equal(memoryRow(saw, "texts").ratio, 1);
  const risen = curveOf(40, (_, place) => (place < 30 ? 300 : 330) + 10 * (place % 5));
  assert.equal(memoryRow(risen, "texts").ratio, 1.1);
});

Deno.test("A row names its process and what it held after a tenth, in the middle and at the end", () => {
  const row = memoryRow(curveOf(101, (_, place) => place), "steps");
  assert.equal(row.name, "memory: host 1, 10 → 50 → 100 MB");
});

Deno.test({
  name: "A process that is up has a point for each sample, and one that has ended has none",
  ...linuxOnly,
  async fn() {
    const curves = new MemoryCurves();
    await curves.sample([self, nobody], 3);
    await curves.sample([nobody, self], 7);
    const [curve, ...others] = curves.all;
    assert.deepEqual(others, []);
    assert.equal(curve.name, "self");
    assert.deepEqual(curve.points.map(({ step }) => step), [3, 7]);
    const heap = Deno.memoryUsage().heapUsed / 2 ** 20;
    for (const { megabytes } of curve.points) {
      assert.ok(megabytes > heap && megabytes < 10_000, `${megabytes} MB`);
    }
  },
});

Deno.test({
  name: "A table has evenly spaced rows, and leaves out what a latecomer did not hold yet",
  ...linuxOnly,
  async fn() {
    const curves = new MemoryCurves();
    assert.equal(curves.table("texts", 3), "");
    for (let step = 1; step <= 9; step++) {
      await curves.sample(step < 6 ? [self] : [self, { ...self, name: "late" }], step);
    }
    const rows = curves.table("texts", 3).split("\n").map((row) => row.trim().split(/ +/));
    assert.deepEqual(rows[0], ["texts", "self", "late"]);
    assert.deepEqual(rows.slice(1).map(([step]) => step), ["3", "6", "9"]);
    assert.deepEqual(rows.slice(1).map(({ length }) => length), [2, 3, 3]);
    // More rows than samples are as many as there are.
    assert.equal(curves.table("texts", 100).split("\n").length, 1 + 9);
  },
});

Deno.test({
  name: "A picture is saved beside its numbers",
  ...linuxOnly,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "murmuration-resident-" });
    try {
      const curves = new MemoryCurves();
      await curves.sample([self], 1);
      const path = await curves.save("memory", "a title", "texts", join(folder, "new"));
      assert.equal(path, join(folder, "new", "memory.svg"));
      assert.ok((await Deno.readTextFile(path)).includes("a title"));
      const numbers = JSON.parse(await Deno.readTextFile(join(folder, "new", "memory.json")));
      assert.deepEqual(numbers, { title: "a title", unit: "texts", curves: curves.all });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
