import assert from "node:assert/strict";
import fc from "fast-check";
import { compareElectorates, remember, shortfall } from "./electorate.ts";
import { ELECTORATES_MAX } from "./limits.ts";
import type { Electorate } from "./messages.ts";

function electorate(change: Partial<Electorate> = {}): Electorate {
  return { term: 1, number: 1, size: 4, casting: false, settled: true, ...change };
}

Deno.test("most of an electorate may speak for it; half of it only with the casting voice", () => {
  const present = (count: number, casting: boolean) =>
    shortfall(Array.from({ length: count }, (_, index) => [electorate({ casting: casting && index === 0 })]));
  assert.equal(present(3, false), undefined);
  assert.deepEqual(present(2, false), { present: 2, size: 4 });
  assert.equal(present(2, true), undefined);
  assert.deepEqual(present(1, true), { present: 1, size: 4 });
});

Deno.test("an electorate that nobody there belongs to lacks everybody", () => {
  assert.deepEqual(shortfall([], [electorate()]), { present: 0, size: 4 });
  assert.equal(shortfall([], []), undefined, "where nobody has ever taken a step, anybody may");
});

Deno.test("what came before a settled electorate matters no more; what came after it does", () => {
  const settled = electorate({ number: 2, size: 1 });
  assert.equal(shortfall([[electorate({ size: 9 }), settled]]), undefined);
  assert.deepEqual(shortfall([[settled, electorate({ number: 3, size: 9, settled: false })]]), {
    present: 1,
    size: 9,
  });
});

Deno.test("a host remembers the settled one and all that came after it, in order, and not without end", () => {
  const any = fc.record({
    term: fc.integer({ min: 1, max: 4 }),
    number: fc.integer({ min: 1, max: 6 }),
    size: fc.integer({ min: 1, max: 9 }),
    casting: fc.boolean(),
    settled: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(any, { maxLength: 40 }), (heard) => {
    let known: readonly Electorate[] = [];
    for (const one of heard) known = remember(known, one);
    assert.ok(known.length <= ELECTORATES_MAX);
    known.slice(1).forEach((one, index) => assert.ok(compareElectorates(known[index], one) < 0));
    assert.ok(known.slice(1).every(({ settled }) => !settled), "only the first can be settled");
  }));
});

Deno.test("two sets that may both speak for an electorate have a host in common", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.infiniteStream(fc.constantFrom("one", "other", "both", "none")),
      (size, sides) => {
        const one: Electorate[][] = [];
        const other: Electorate[][] = [];
        let common = 0;
        for (let index = 0; index < size; index++) {
          const memory = [electorate({ size, casting: index === 0 })];
          const side = sides.next().value;
          if (side === "one" || side === "both") one.push(memory);
          if (side === "other" || side === "both") other.push(memory);
          if (side === "both") common++;
        }
        const known = [electorate({ size })];
        if (shortfall(one, known) === undefined && shortfall(other, known) === undefined) {
          assert.ok(common > 0);
        }
      },
    ),
  );
});
