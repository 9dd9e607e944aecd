import assert from "node:assert/strict";
import { ScopedClock } from "./scoped_clock.ts";
import { VirtualClock } from "./virtual_clock.ts";

Deno.test("closing a scope calls off its timers and no others", () => {
  const clock = new VirtualClock(500);
  const scoped = new ScopedClock(clock, 10);
  const fired: string[] = [];
  clock.after(5, () => fired.push("outside"));
  scoped.after(1, () => fired.push("early"));
  scoped.after(5, () => fired.push("inside"));
  clock.advanceTo(2);
  scoped.close();
  scoped.after(1, () => fired.push("too late"));
  clock.advanceTo(10);
  assert.deepEqual(fired, ["early", "outside"]);
  assert.equal(clock.pending, 0);
  assert.equal(scoped.nowMs(), 10);
  assert.equal(scoped.epochMs(), 510);
});

Deno.test("timers that fired or were called off make room for others", () => {
  const clock = new VirtualClock();
  const scoped = new ScopedClock(clock, 2);
  scoped.after(1, () => {});
  const second = scoped.after(9, () => {});
  assert.throws(() => scoped.after(1, () => {}), /Cannot set a timer: 2 of 2 wait already/);
  clock.advanceTo(1);
  scoped.after(1, () => {});
  second.cancel();
  scoped.after(1, () => {});
  assert.throws(() => scoped.after(1, () => {}), RangeError);
});
