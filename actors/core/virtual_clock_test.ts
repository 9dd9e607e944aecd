import assert from "node:assert/strict";
import fc from "fast-check";
import type { Timer } from "./clock.ts";
import { VirtualClock } from "./virtual_clock.ts";

Deno.test("virtual timers fire in order of time, then of setting, unless called off", () => {
  const timers = fc.array(
    fc.record({ delayMs: fc.integer({ min: -3, max: 20 }), cancelled: fc.boolean() }),
    { maxLength: 100 },
  );
  fc.assert(
    fc.property(timers, fc.infiniteStream(fc.nat()), (specs, picks) => {
      const clock = new VirtualClock();
      const fired: { id: number; atMs: number }[] = [];
      const set = specs.map(({ delayMs }, id) =>
        clock.after(delayMs, () => fired.push({ id, atMs: clock.nowMs() }))
      );
      // Called off in an arbitrary order, to disturb the heap everywhere.
      const doomed = set.filter((_, id) => specs[id]!.cancelled);
      while (doomed.length > 0) {
        doomed.splice(picks.next().value % doomed.length, 1)[0]!.cancel();
      }
      assert.equal(clock.pending, specs.filter((spec) => !spec.cancelled).length);
      clock.advanceTo(100);
      const expected = specs
        .map(({ delayMs, cancelled }, id) => ({ id, atMs: Math.max(0, delayMs), cancelled }))
        .filter((timer) => !timer.cancelled)
        .sort((one, other) => one.atMs - other.atMs || one.id - other.id)
        .map(({ id, atMs }) => ({ id, atMs }));
      assert.deepEqual(fired, expected);
      assert.equal(clock.nowMs(), 100);
    }),
  );
});

Deno.test("timers set while time moves fire on the way", () => {
  const clock = new VirtualClock(1_000_000);
  const fired: number[] = [];
  clock.after(5, () => {
    fired.push(clock.nowMs());
    clock.after(0, () => fired.push(clock.nowMs()));
    clock.after(3, () => fired.push(clock.nowMs()));
    clock.after(30, () => fired.push(clock.nowMs()));
  });
  clock.advanceTo(10);
  assert.deepEqual(fired, [5, 5, 8]);
  assert.equal(clock.epochMs(), 1_000_010);
  assert.equal(clock.nextAtMs(), 35);
  clock.advanceTo(3);
  assert.equal(clock.nowMs(), 10, "time never goes back");
});

Deno.test("calling a timer off is idempotent, and late is no mistake", () => {
  const clock = new VirtualClock();
  const timers: Timer[] = [1, 2, 3].map((delayMs) => clock.after(delayMs, () => {}));
  timers[1]!.cancel();
  timers[1]!.cancel();
  clock.fireNext();
  timers[0]!.cancel();
  assert.equal(clock.pending, 1);
  assert.equal(clock.fireNext(), true);
  assert.equal(clock.nowMs(), 3);
  assert.equal(clock.fireNext(), false);
  assert.throws(() => clock.after(NaN, () => {}), RangeError);
  assert.throws(() => clock.after(Infinity, () => {}), RangeError);
});

Deno.test("a hundred thousand timers, half of them called off, leave nothing behind", () => {
  const clock = new VirtualClock();
  const timers: Timer[] = [];
  for (let index = 0; index < 100_000; index++) {
    timers.push(clock.after((index * 7919) % 10_007, () => {}));
  }
  for (let index = 0; index < timers.length; index += 2) timers[index]!.cancel();
  assert.equal(clock.pending, 50_000);
  let lastMs = 0;
  while (clock.fireNext()) {
    assert.ok(clock.nowMs() >= lastMs);
    lastMs = clock.nowMs();
  }
  assert.equal(clock.pending, 0);
});
