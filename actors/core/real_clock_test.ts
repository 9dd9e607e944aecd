import assert from "node:assert/strict";
import { RealClock } from "./real_clock.ts";

Deno.test("the real clock fires, in order, and not what was called off", async () => {
  const clock = new RealClock();
  const fired: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  clock.after(0, () => fired.push("never")).cancel();
  // Longer than the event loop's longest delay, which would fire at once.
  const distant = clock.after(2 ** 33, () => fired.push("far too early"));
  clock.after(1, () => fired.push("first"));
  clock.after(20, resolve);
  const startMs = clock.nowMs();
  await promise;
  distant.cancel();
  assert.deepEqual(fired, ["first"]);
  assert.ok(clock.nowMs() >= startMs);
  assert.ok(clock.epochMs() > 1_700_000_000_000);
});

Deno.test("a delay that is not finite is a mistake", () => {
  assert.throws(() => new RealClock().after(NaN, () => {}), RangeError);
  assert.throws(() => new RealClock().after(Infinity, () => {}), RangeError);
});
