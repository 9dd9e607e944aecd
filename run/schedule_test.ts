import assert from "node:assert/strict";
import fc from "fast-check";
import { learningRate } from "./schedule.ts";

const optimizer = { learningRate: 1e-3, minimumLearningRate: 1e-4, warmupSteps: 9, decaySteps: 109 };

for (
  const [step, rate] of [
    [0, 1e-4],
    [8, 9e-4],
    [9, 1e-3],
    [59, 5.5e-4],
    [109, 1e-4],
    [1e6, 1e-4],
  ]
) {
  Deno.test(`learningRate of step ${step} is ${rate}`, () => {
    assert.ok(Math.abs(learningRate(optimizer, step) - rate) < 1e-12);
  });
}

Deno.test("learningRate takes schedules without warm-up and without decay", () => {
  assert.equal(learningRate({ ...optimizer, warmupSteps: 0, decaySteps: 0 }, 0), 1e-4);
  assert.equal(learningRate({ ...optimizer, warmupSteps: 0 }, 0), 1e-3);
});

Deno.test("learningRate rises, then falls, and stays within its bounds", () => {
  fc.assert(fc.property(fc.nat(50), fc.nat(200), fc.nat(400), (warmupSteps, more, step) => {
    const schedule = { ...optimizer, warmupSteps, decaySteps: warmupSteps + more };
    const [now, next] = [learningRate(schedule, step), learningRate(schedule, step + 1)];
    assert.ok(now > 0 && now <= optimizer.learningRate);
    assert.ok(step + 1 < warmupSteps ? next > now : step < warmupSteps || next <= now);
  }));
});
