import assert from "node:assert/strict";
import fc from "fast-check";
import { leastPath } from "./least_path.ts";

/** Hosts are numbers, home is −1; the cost of everything comes from a table. */
function costsOf(table: readonly number[]) {
  const at = (one: number, other: number) => table[(31 * (one + 1) + 7 * (other + 1)) % table.length];
  return {
    stepMs: (host: number) => at(host, host),
    linkMs: (from: number | undefined, to: number | undefined) => at(from ?? -1, to ?? -1),
  };
}

/** Every way there is. */
function* waysThrough(stages: readonly (readonly number[])[]): Generator<readonly number[]> {
  if (stages.length === 0) return yield [];
  for (const host of stages[0]) for (const rest of waysThrough(stages.slice(1))) yield [host, ...rest];
}

function msOf(path: readonly number[], { stepMs, linkMs }: ReturnType<typeof costsOf>): number {
  let ms = linkMs(path.at(-1), undefined);
  path.forEach((host, index) => ms += linkMs(path[index - 1], host) + stepMs(host));
  return ms;
}

Deno.test("no way is quicker than the one that is found", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 });
  const table = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 60 });
  fc.assert(fc.property(sizes, table, (sizes, table) => {
    let next = 0;
    const stages = sizes.map((size) => Array.from({ length: size }, () => next++));
    const costs = costsOf(table);
    const found = leastPath(stages, costs)!;
    assert.equal(found.path.length, stages.length);
    found.path.forEach((host, stage) => assert.ok(stages[stage].includes(host)));
    assert.equal(found.ms, msOf(found.path, costs), "it costs what it is said to");
    let least = Infinity;
    for (const way of waysThrough(stages)) least = Math.min(least, msOf(way, costs));
    assert.equal(found.ms, least);
  }));
});

Deno.test("without anybody at some stage there is no way", () => {
  const costs = costsOf([1]);
  assert.equal(leastPath([[1], [], [2]], costs), undefined);
  assert.equal(leastPath([[]], costs), undefined);
});

Deno.test("of equals the first named is taken", () => {
  assert.deepEqual(leastPath([[4, 2], [9, 7]], costsOf([1])), { path: [4, 9], ms: 5 });
});
