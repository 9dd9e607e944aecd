import assert from "node:assert/strict";
import fc from "fast-check";
import { WALK_TIMEOUT_DOUBLINGS_MAX, WALK_TIMEOUT_FACTOR, WALK_TIMEOUT_MS_MIN } from "./limits.ts";
import { Patience } from "./patience.ts";

const STAGES = 3;

Deno.test("quick walks are waited for as long as the bound says, slow ones several times as long as they take", () => {
  const patience = new Patience(STAGES);
  patience.rewarded(20, 20);
  assert.equal(patience.ms, WALK_TIMEOUT_MS_MIN);
  patience.rewarded(40_000, 40_020);
  assert.equal(patience.ms, WALK_TIMEOUT_FACTOR * 40_000);
  for (let i = 0; i < 200; i++) patience.rewarded(20, 50_000);
  assert.equal(patience.ms, WALK_TIMEOUT_MS_MIN, "what was slow once is forgotten");
});

Deno.test("while nothing comes back the time doubles; walks that were waited for together count once", () => {
  const patience = new Patience(STAGES);
  for (let i = 0; i < 16; i++) patience.disappointed(i, 15_000 + i);
  assert.equal(patience.ms, 2 * WALK_TIMEOUT_MS_MIN);
  patience.disappointed(20_000, 50_000);
  assert.equal(patience.ms, 4 * WALK_TIMEOUT_MS_MIN);
  patience.rewarded(50_000, 60_000);
  assert.equal(
    patience.ms,
    WALK_TIMEOUT_FACTOR * 50_000,
    "learnt, though it took longer than the first bound",
  );
});

Deno.test("until a walk has come back, the first stage's time tells how slow the work is", () => {
  const patience = new Patience(STAGES);
  patience.hopped(4000);
  patience.hopped(60_000);
  assert.equal(patience.ms, WALK_TIMEOUT_FACTOR * 2 * STAGES * 4000, "the longer one has waited in a queue");
  patience.rewarded(20_000, 30_000);
  assert.equal(patience.ms, WALK_TIMEOUT_FACTOR * 20_000);
});

Deno.test("who never comes back while others do makes nobody more patient", () => {
  const patience = new Patience(STAGES);
  patience.rewarded(100, 1000);
  patience.disappointed(900, 16_000);
  assert.equal(patience.ms, WALK_TIMEOUT_MS_MIN);
});

Deno.test("whatever happens, the time is within its bounds", () => {
  const event = fc.record({ came: fc.boolean(), tookMs: fc.nat(100_000), gapMs: fc.nat(100_000) });
  fc.assert(fc.property(fc.array(event), (events) => {
    const patience = new Patience(STAGES);
    let nowMs = 0;
    let slowestMs = 0;
    for (const { came, tookMs, gapMs } of events) {
      nowMs += gapMs;
      if (came) patience.rewarded(tookMs, nowMs);
      else patience.disappointed(nowMs - tookMs, nowMs);
      if (came) slowestMs = Math.max(slowestMs, tookMs);
      assert.ok(patience.ms >= WALK_TIMEOUT_MS_MIN);
      const mostMs = Math.max(WALK_TIMEOUT_MS_MIN, WALK_TIMEOUT_FACTOR * slowestMs);
      assert.ok(patience.ms <= mostMs * 2 ** WALK_TIMEOUT_DOUBLINGS_MAX);
    }
  }));
});
