import assert from "node:assert/strict";
import fc from "fast-check";
import { VirtualClock } from "../actors/core/virtual_clock.ts";
import { TokenBucket } from "./token_bucket.ts";

Deno.test("a bucket gives a minute's worth at once, and then as it fills", () => {
  const clock = new VirtualClock();
  const bucket = new TokenBucket(clock, 60);
  bucket.take(60);
  assert.equal(bucket.secondsUntil(1), 1);
  clock.advanceTo(500);
  assert.equal(bucket.secondsUntil(1), 0.5);
  clock.advanceTo(3_600_000);
  // It does not run over.
  bucket.take(60);
  assert.equal(bucket.secondsUntil(1), 1);
  // What it could never hold is not waited for in vain.
  assert.equal(bucket.secondsUntil(1000), 60);
});

Deno.test("in any hour no more is drawn than the rate allows, the first minute's worth and the last draw", () => {
  const draws = fc.array(fc.record({ afterMs: fc.integer({ min: 0, max: 120_000 }), amount: fc.nat(200) }), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(fc.property(draws, (draws) => {
    const clock = new VirtualClock();
    const bucket = new TokenBucket(clock, 100);
    let drawn = 0;
    for (const { afterMs, amount } of draws) {
      clock.advanceTo(clock.nowMs() + afterMs);
      if (bucket.secondsUntil(1) > 0) continue;
      bucket.take(amount);
      drawn += amount;
      assert.ok(drawn <= 100 + clock.nowMs() / 600 + 200);
    }
  }));
});
