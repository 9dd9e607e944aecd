import assert from "node:assert/strict";
import { RealClock } from "./real_clock.ts";
import { eventLoopScheduler } from "./scheduler.ts";

Deno.test("turns come later, in order, and let the event loop live", async () => {
  const seen: string[] = [];
  eventLoopScheduler(() => seen.push("one"));
  eventLoopScheduler(() => seen.push("two"));
  seen.push("now");
  await new Promise<void>(eventLoopScheduler);
  assert.deepEqual(seen, ["now", "one", "two"]);

  // A turn that always asks for another must not keep a timer from firing.
  let busy = true;
  const spin = () => busy && eventLoopScheduler(spin);
  spin();
  await new Promise<void>((resolve) => void new RealClock().after(1, resolve));
  busy = false;
});
