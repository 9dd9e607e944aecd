import assert from "node:assert/strict";
import { VirtualClock } from "../core/virtual_clock.ts";
import { within } from "./time_bound.ts";

Deno.test("work that is done in time leaves no timer", async () => {
  const clock = new VirtualClock();
  assert.equal(await within(clock, 10, () => Promise.resolve(7)), 7);
  await assert.rejects(within(clock, 10, () => Promise.reject(new Error("no"))), /no/);
  assert.equal(clock.pending, 0);
});

Deno.test("work that takes too long is aborted, and need not heed it", async () => {
  const clock = new VirtualClock();
  let heard: AbortSignal | undefined;
  const bounded = within(clock, 10, (signal) => {
    heard = signal;
    return new Promise(() => {});
  });
  clock.advanceTo(10);
  await assert.rejects(bounded, { name: "TimeoutError", message: "no answer within 10 ms" });
  assert.equal(heard!.aborted, true);
});

Deno.test("an outer signal aborts work, even before it began", async () => {
  const clock = new VirtualClock();
  const outer = new AbortController();
  const bounded = within(clock, 10, () => new Promise(() => {}), outer.signal);
  outer.abort(new Error("called off"));
  await assert.rejects(bounded, /called off/);
  await assert.rejects(
    within(clock, 10, (signal) => Promise.resolve(signal.aborted), outer.signal),
    /called off/,
  );
  assert.equal(clock.pending, 0);
});
