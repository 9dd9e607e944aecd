import assert from "node:assert/strict";
import { VirtualClock } from "../actors/core/virtual_clock.ts";
import { SkewedClock } from "./skewed_clock.ts";

Deno.test("a clock that gains reaches its timers early, and its calendar runs away", () => {
  const world = new VirtualClock(1_000_000);
  const fast = new SkewedClock(world, { offsetMs: 500, driftPpm: 100_000 });
  const fired: number[] = [];
  fast.after(1100, () => fired.push(world.nowMs()));
  fast.after(5000, () => fired.push(world.nowMs())).cancel();
  assert.equal(fast.epochMs(), 1_000_500);
  world.advanceTo(10_000);
  assert.equal(Math.round(fired[0]), 1000);
  assert.equal(fired.length, 1);
  assert.equal(Math.round(fast.nowMs()), 11_000);
  assert.equal(Math.round(fast.epochMs()), 1_000_000 + 500 + 11_000);
});
