import assert from "node:assert/strict";
import fc from "fast-check";
import { Cooloff, COOLOFF_MS_MAX, COOLOFF_MS_MIN } from "./cooloff.ts";

Deno.test("pauses double up to a bound, and a success forgets", () => {
  const cooloff = new Cooloff();
  let nowMs = 0;
  const pauses: number[] = [];
  for (let failure = 0; failure < 40; failure++) {
    cooloff.failure(nowMs);
    pauses.push(cooloff.freeAtMs(false) - nowMs);
    nowMs = cooloff.freeAtMs(false);
  }
  assert.deepEqual(pauses.slice(0, 3), [COOLOFF_MS_MIN, 2 * COOLOFF_MS_MIN, 4 * COOLOFF_MS_MIN]);
  assert.equal(pauses.at(-1), COOLOFF_MS_MAX);
  cooloff.success();
  cooloff.failure(nowMs);
  assert.equal(cooloff.freeAtMs(false), nowMs + COOLOFF_MS_MIN);
});

Deno.test("failures during a pause are one incident", () => {
  const cooloff = new Cooloff();
  for (let failure = 0; failure < 16; failure++) cooloff.failure(failure);
  assert.equal(cooloff.failures, 1);
  assert.equal(cooloff.freeAtMs(false), COOLOFF_MS_MIN);
});

Deno.test("a lifted pause is over, and the next is longer", () => {
  const cooloff = new Cooloff();
  cooloff.failure(0);
  cooloff.lift();
  assert.equal(cooloff.isPaused(0), false);
  cooloff.failure(1);
  assert.equal(cooloff.freeAtMs(false), 1 + 2 * COOLOFF_MS_MIN);
});

Deno.test("a refusal is no failure, and neither a lift nor urgency cuts it short", () => {
  const cooloff = new Cooloff();
  cooloff.refused(900);
  cooloff.refused(800);
  cooloff.refused(NaN);
  cooloff.refused(Infinity);
  cooloff.lift();
  assert.deepEqual([cooloff.failures, cooloff.isPaused(0)], [0, false]);
  assert.deepEqual([cooloff.freeAtMs(false), cooloff.freeAtMs(true)], [900, 900]);
});

Deno.test("urgency shortens a pause to the shortest, and never to nothing", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 100_000 }), { minLength: 1, maxLength: 30 }), (gapsMs) => {
      const cooloff = new Cooloff();
      let nowMs = 0;
      for (const gapMs of gapsMs) cooloff.failure(nowMs += gapMs);
      assert.ok(cooloff.freeAtMs(true) <= cooloff.freeAtMs(false));
      if (gapsMs.length === 1) assert.equal(cooloff.freeAtMs(true), nowMs + COOLOFF_MS_MIN);
      assert.ok(cooloff.freeAtMs(false) <= nowMs + COOLOFF_MS_MAX);
    }),
  );
});
