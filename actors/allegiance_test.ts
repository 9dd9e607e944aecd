import assert from "node:assert/strict";
import fc from "fast-check";
import { Allegiance } from "./allegiance.ts";

const LEASE_MS = 100;

Deno.test("nobody wins a host over from a coordinator that is heard of", () => {
  const host = new Allegiance(LEASE_MS);
  assert.ok(host.promise("a", 1, 0));
  assert.equal(host.promise("b", 2, LEASE_MS - 1), false);
  assert.ok(host.obeys("a", 1, LEASE_MS - 1), "every word renews the lease");
  assert.equal(host.promise("b", 2, LEASE_MS + 1), false);
  assert.ok(host.promise("b", 2, 2 * LEASE_MS), "until it has been silent for so long");
  assert.equal(host.obeys("a", 1, 2 * LEASE_MS), false, "then it is too late");
});

Deno.test("a coordinator that comes back late is obeyed, unless another was promised more meanwhile", () => {
  const host = new Allegiance(LEASE_MS);
  host.promise("a", 1, 0);
  assert.equal(host.leader(10 * LEASE_MS), undefined);
  assert.ok(host.obeys("a", 1, 10 * LEASE_MS));
  assert.equal(host.leader(10 * LEASE_MS), "a");
});

Deno.test("a coordinator that is gone is waited for no longer, and its promise still holds against lower terms", () => {
  const host = new Allegiance(LEASE_MS);
  host.promise("a", 5, 0);
  assert.equal(host.release("b", 1), false);
  assert.equal(host.release("a", 1), true);
  assert.equal(host.release("a", 1), false, "told twice, it is news once");
  assert.equal(host.promise("b", 5, 1), false);
  assert.ok(host.promise("b", 6, 1));
});

Deno.test("a host that starts again holds its word", () => {
  const before = new Allegiance(LEASE_MS);
  before.promise("a", 3, 0);
  before.remember([{ term: 3, number: 1, electors: ["x"], after: null, settled: true }]);
  const after = new Allegiance(LEASE_MS, before.pledge);
  assert.equal(after.leader(0), undefined);
  assert.equal(after.promise("b", 3, 0), false);
  assert.ok(after.obeys("a", 3, 0));
  assert.equal(after.pledge.electorates.length, 1);
});

Deno.test("whatever happens, terms rise, and one term is promised to one coordinator alone", () => {
  const event = fc.record({
    kind: fc.constantFrom("promise", "obeys", "release"),
    peer: fc.constantFrom("a", "b", "c"),
    term: fc.integer({ min: 1, max: 8 }),
    waitMs: fc.integer({ min: 0, max: 2 * LEASE_MS }),
  });
  fc.assert(fc.property(fc.array(event), (events) => {
    const host = new Allegiance(LEASE_MS);
    const promised = new Map<number, string>();
    let nowMs = 0;
    for (const { kind, peer, term, waitMs } of events) {
      nowMs += waitMs;
      const before = host.pledge.term;
      if (kind === "promise" && host.promise(peer, term, nowMs)) {
        assert.equal(promised.get(term), undefined);
        promised.set(term, peer);
      } else if (kind === "obeys") {
        assert.equal(host.obeys(peer, term, nowMs), term === before && promised.get(term) === peer);
      } else if (kind === "release") host.release(peer, nowMs);
      assert.ok(host.pledge.term >= before);
    }
  }));
});
