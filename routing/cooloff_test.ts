import assert from "node:assert/strict";
import fc from "fast-check";
import {
  Cooloff,
  COOLOFF_MS_MAX,
  COOLOFF_MS_MIN,
  COOLOFF_PER_WASTE_MAX,
  COOLOFF_PER_WASTE_MIN,
} from "./cooloff.ts";

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

Deno.test("a failure that wasted time weighs as much as it wasted, within bounds, and words don't lift it", () => {
  const cooloff = new Cooloff();
  cooloff.failure(0, 5000);
  assert.equal(cooloff.freeAtMs(false), COOLOFF_PER_WASTE_MIN * 5000);
  assert.equal(cooloff.freeAtMs(true), COOLOFF_MS_MIN, "unless there is nobody else");
  cooloff.lift();
  assert.equal(cooloff.freeAtMs(false), COOLOFF_PER_WASTE_MIN * 5000);
  let nowMs = 0;
  for (let failure = 0; failure < 10; failure++) cooloff.failure(nowMs = cooloff.freeAtMs(false), 5000);
  assert.equal(cooloff.freeAtMs(false) - nowMs, COOLOFF_PER_WASTE_MAX * 5000);
});

Deno.test("while it is on trial a peer gets one task, and is forgiven for what it owed alone", () => {
  const cooloff = new Cooloff();
  cooloff.failure(0, 5000, "returned");
  cooloff.given(20_000);
  assert.equal(cooloff.freeAtMs(false), 25_000);
  cooloff.success("computed");
  assert.deepEqual([cooloff.onTrial, cooloff.freeAtMs(true)], [true, 25_000]);
  cooloff.success("returned");
  assert.deepEqual([cooloff.onTrial, cooloff.failures], [false, 0]);
  cooloff.failure(30_000, 5000);
  cooloff.success("computed");
  assert.equal(cooloff.onTrial, false);
});
