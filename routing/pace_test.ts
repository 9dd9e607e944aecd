import assert from "node:assert/strict";
import fc from "fast-check";
import { Pace, paceOf, SECONDS_PER_TOKEN_MAX, SECONDS_PER_TOKEN_MIN } from "./pace.ts";

Deno.test("the first sample counts in full, later ones by a tenth", () => {
  const pace = new Pace();
  assert.equal(pace.secondsPerToken, undefined);
  pace.sample(paceOf(10, 100));
  assert.equal(pace.secondsPerToken, 0.1);
  pace.sample(paceOf(110, 100));
  assert.ok(Math.abs(pace.secondsPerToken! - 0.2) < 1e-12);
});

Deno.test("an average follows a change", () => {
  const pace = new Pace();
  for (let sample = 0; sample < 50; sample++) pace.sample(1);
  for (let sample = 0; sample < 50; sample++) pace.sample(2);
  assert.ok(Math.abs(pace.secondsPerToken! - 2) < 0.01);
});

Deno.test("whatever a stranger says, a pace is a number within the bounds", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.double(), fc.double()), { minLength: 1 }), (samples) => {
      const pace = new Pace();
      for (const [seconds, tokens] of samples) pace.sample(paceOf(seconds, tokens));
      const rounding = 1 + 1e-9;
      assert.ok(pace.secondsPerToken! * rounding >= SECONDS_PER_TOKEN_MIN);
      assert.ok(pace.secondsPerToken! <= SECONDS_PER_TOKEN_MAX * rounding);
    }),
  );
});
