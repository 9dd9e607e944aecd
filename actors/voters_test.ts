import assert from "node:assert/strict";
import { ELECTORS_MAX } from "./limits.ts";
import { Voters } from "./voters.ts";

const among = (...peers: string[]) => (peer: string) => peers.includes(peer);

Deno.test("an electorate is in force once most of it remember it, and the next once most of both do", () => {
  const voters = new Voters();
  assert.equal(voters.name(3, []), false);
  assert.equal(voters.name(3, ["a", "b", "c"]), true);
  assert.equal(voters.name(3, ["a", "b", "c"]), false, "nothing has changed");
  assert.deepEqual(voters.inForce, []);
  const [first] = voters.named;
  const remember = (latest: typeof first, ...peers: string[]) =>
    voters.settle((peer) => among(...peers)(peer) ? latest : null);
  assert.equal(remember(first, "a"), false);
  assert.equal(remember(first, "a", "b"), true);
  assert.equal(remember(first, "a", "b"), false, "it is settled already");
  assert.deepEqual(voters.inForce.map(({ electors, settled }) => [electors, settled]), [[
    ["a", "b", "c"],
    true,
  ]]);

  // b goes: those that stay keep their places.
  assert.equal(voters.name(3, ["d", "c", "a"]), true);
  const next = voters.named[1];
  assert.deepEqual([next.electors, next.number, next.after], [["a", "c", "d"], 2, { term: 3, number: 1 }]);
  assert.deepEqual(voters.inForce, [voters.named[0]], "the one before, until the next is settled");
  assert.deepEqual(voters.electors, ["a", "b", "c", "a", "b", "c", "a", "c", "d"]);
  assert.equal(remember(next, "c", "d"), false, "most of it, and too few of the one before");
  assert.equal(remember(next, "a", "c"), true);
  assert.deepEqual(voters.named.map(({ number }) => number), [2]);
});

Deno.test("one that was named and not settled gives its place to the next", () => {
  const voters = new Voters();
  voters.name(1, ["a"]);
  voters.name(1, ["a", "b"]);
  assert.deepEqual(voters.named.map(({ electors, number }) => [electors, number]), [[["a", "b"], 2]]);
  assert.equal(voters.isKnownTo({ term: 1, number: 1, settled: false }), false);
  assert.equal(voters.isKnownTo({ term: 1, number: 2, settled: false }), true);
  assert.equal(voters.isKnownTo({ term: 1, number: 2, settled: true }), false);
  assert.equal(voters.isKnownTo(null), false);
  voters.clear();
  assert.equal(voters.isKnownTo(null), true, "there is nothing to know");
});

Deno.test("what was in force before the term counts until one of the term does", () => {
  const voters = new Voters();
  const before = { term: 2, number: 7, electors: ["x", "y", "z"], after: null, settled: true };
  voters.inherit(new Map([["x", [before]]]));
  assert.match(voters.shortfall(among("x", "a"))!, /^1 of the 3 hosts that vouch for its steps are there/);
  assert.equal(voters.shortfall(among("x", "z")), null);
  voters.name(4, ["a", "x"]);
  assert.deepEqual([voters.named[0].number, voters.named[0].after], [8, { term: 2, number: 7 }]);
  assert.deepEqual(voters.inForce, [before]);
  // What is missing is looked at again when who serves has changed.
  assert.notEqual(voters.lacks(among("x")), null);
  assert.notEqual(voters.lacks(among("x", "y")), null);
  voters.recount();
  assert.equal(voters.lacks(among("x", "y")), null);
});

Deno.test("an electorate is a handful, however many serve", () => {
  const voters = new Voters();
  const many = Array.from({ length: 3 * ELECTORS_MAX }, (_, i) => `host ${i}`);
  voters.name(1, many);
  assert.deepEqual(voters.named[0].electors, many.slice(0, ELECTORS_MAX));
  assert.equal(voters.name(1, many.toReversed()), false, "those that serve keep their places");
});
