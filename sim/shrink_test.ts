import assert from "node:assert/strict";
import fc from "fast-check";
import { drawScenario, type Scenario } from "./scenario.ts";
import { shrink } from "./shrink.ts";

/** A scenario whose faults are numbered by their times. */
function numbered(count: number): Scenario {
  const faults = Array.from(
    { length: count },
    (_, atMs) => ({ kind: "leave" as const, atMs, peer: "x", backMs: 0 }),
  );
  return { ...drawScenario(1, []), faults };
}

const times = ({ faults }: Scenario) => faults.map((fault) => "atMs" in fault ? fault.atMs : NaN);

Deno.test("a scenario shrinks to the faults that it fails by", async () => {
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 1, max: 40 }).chain((count) =>
      fc.tuple(fc.constant(count), fc.subarray(Array.from({ length: count }, (_, index) => index)))
    ),
    async ([count, needed]) => {
      const fails = (smaller: Scenario) =>
        Promise.resolve(needed.every((time) => times(smaller).includes(time)));
      assert.deepEqual(times(await shrink(numbered(count), fails, 10_000)), needed);
    },
  ));
});

Deno.test("it asks no more than it may", async () => {
  let asked = 0;
  await shrink(numbered(1000), () => Promise.resolve(++asked < 0), 50);
  assert.equal(asked, 50);
});
