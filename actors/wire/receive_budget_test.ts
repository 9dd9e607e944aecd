import assert from "node:assert/strict";
import fc from "fast-check";
import { type Lease, ReceiveBudget } from "./receive_budget.ts";

Deno.test("claims are served in their order, as room comes free", () => {
  const budget = new ReceiveBudget(10);
  const served: string[] = [];
  const first = budget.claim(6, () => served.push("first"));
  const second = budget.claim(6, () => served.push("second"));
  const third = budget.claim(1, () => served.push("third"));
  assert.deepEqual([first.held, second.held, third.held], [true, false, false]);
  assert.deepEqual(served, [], "room that was there at once is not announced");
  first.release();
  assert.deepEqual(served, ["second", "third"]);
  second.release();
  second.release();
  third.release();
  assert.equal(budget.bytes, 0);
});

Deno.test("a claim above the whole budget waits until it is alone", () => {
  const budget = new ReceiveBudget(10);
  const small = budget.claim(1, () => {});
  const huge = budget.claim(100, () => {});
  assert.equal(huge.held, false);
  small.release();
  assert.equal(huge.held, true);
  assert.equal(budget.claim(1, () => {}).held, false);
});

Deno.test("whoever gives up its place holds up nobody", () => {
  const budget = new ReceiveBudget(10);
  const first = budget.claim(8, () => {});
  const second = budget.claim(9, () => {});
  const third = budget.claim(2, () => {});
  second.release();
  assert.equal(third.held, true);
  first.release();
  third.release();
  assert.equal(budget.bytes, 0);
});

Deno.test("whatever the order of claims and releases, no more is held than allowed, and all are served", () => {
  const claim = fc.record({ bytes: fc.integer({ min: 1, max: 15 }), release: fc.nat() });
  fc.assert(fc.property(fc.array(claim, { maxLength: 40 }), (claims) => {
    const budget = new ReceiveBudget(10);
    const leases: Lease[] = [];
    const check = () => {
      const held = leases.filter((lease) => lease.held).length;
      assert.ok(budget.bytes <= 10 || held === 1);
    };
    for (const { bytes, release } of claims) {
      leases.push(budget.claim(bytes, () => {}));
      check();
      if (release % 2 === 0) leases.splice(release % leases.length, 1)[0].release();
      check();
    }
    while (leases.length > 0) {
      const at = leases.findIndex((lease) => lease.held);
      assert.notEqual(at, -1, "somebody is served as long as somebody waits");
      leases.splice(at, 1)[0].release();
      check();
    }
    assert.equal(budget.bytes, 0);
  }));
});
