import assert from "node:assert/strict";
import fc from "fast-check";
import { compareElectorates, inForce, isMajority, remember, shortfall } from "./electorate.ts";
import { ELECTORATES_MAX } from "./limits.ts";
import type { Electorate } from "./messages.ts";

function electorate(change: Partial<Electorate> = {}): Electorate {
  return { term: 1, number: 1, electors: ["a", "b", "c", "d"], after: null, settled: true, ...change };
}

function knowing(memories: Record<string, readonly Electorate[]>) {
  return new Map(Object.entries(memories));
}

Deno.test("most of an electorate may speak for it; half of it only with its first", () => {
  const present = (...peers: string[]) => shortfall([electorate()], (peer) => peers.includes(peer));
  assert.equal(present("b", "c", "d"), undefined);
  assert.deepEqual(present("c", "d"), { present: 2, size: 4 });
  assert.equal(present("a", "d"), undefined);
  assert.deepEqual(present("a"), { present: 1, size: 4 });
  assert.deepEqual(present(), { present: 0, size: 4 });
});

Deno.test("what came before a settled electorate is in force no more", () => {
  const later = electorate({ number: 2, electors: ["x"] });
  assert.deepEqual(inForce(knowing({ a: [electorate()], x: [later] })), [later]);
});

Deno.test("an electorate that may have been settled unheard counts; one that cannot have been doesn't", () => {
  const first = electorate();
  const next = electorate({
    number: 2,
    electors: ["a", "b", "e"],
    after: { term: 1, number: 1 },
    settled: false,
  });
  // Those who are not there may know of it.
  assert.deepEqual(inForce(knowing({ a: [first, next], d: [first] })), [first, next]);
  // Of those before it c and d don't know, and b doesn't either.
  assert.deepEqual(inForce(knowing({ a: [first, next], b: [first], c: [first], d: [first] })), [first]);
  // Of its own b and e don't.
  assert.deepEqual(inForce(knowing({ a: [first, next], b: [first], e: [] })), [first]);
});

Deno.test("a coordinator that names another in its place has given the first up", () => {
  const settled = electorate();
  const after = { term: 1, number: 1 };
  const given = electorate({ number: 2, settled: false, after });
  const instead = electorate({ number: 3, settled: false, after });
  assert.deepEqual(remember(remember([settled], given), instead), [settled, instead]);
  const rival = electorate({ term: 2, number: 3, settled: false, after });
  assert.deepEqual(remember(remember([settled], given), rival), [settled, given, rival]);
});

Deno.test("a host remembers the settled one and what came after it, in order, and not without end", () => {
  const any = fc.record({
    term: fc.integer({ min: 1, max: 14 }),
    number: fc.integer({ min: 1, max: 14 }),
    electors: fc.constant(["a"]),
    after: fc.constant(null),
    settled: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(any, { maxLength: 60 }), (heard) => {
    let known: readonly Electorate[] = [];
    for (const one of heard) {
      known = remember(known, one);
      assert.ok(known.length > 0 && known.length <= ELECTORATES_MAX);
    }
    known.slice(1).forEach((one, index) => assert.ok(compareElectorates(known[index], one) < 0));
    assert.ok(known.slice(1).every(({ settled }) => !settled), "only the first can be settled");
  }));
});

Deno.test("two sets that may both speak for an electorate have a host in common", () => {
  const electors = fc.uniqueArray(fc.constantFrom(..."abcdefghi"), { minLength: 1 });
  fc.assert(fc.property(electors, fc.func(fc.nat(3)), (electors, sideOf) => {
    const one = (peer: string) => sideOf(peer) % 2 === 1;
    const other = (peer: string) => sideOf(peer) >= 2;
    if (isMajority(electors, one) && isMajority(electors, other)) {
      assert.ok(electors.some((peer) => one(peer) && other(peer)));
    }
  }));
});
