import assert from "node:assert/strict";
import { Workload } from "./workload.ts";

Deno.test("a micro-batch takes as long as both of its halves", () => {
  const workload = new Workload();
  assert.equal(workload.secondsPerMicroBatch, undefined);
  workload.took("forward", 1);
  assert.equal(workload.secondsPerMicroBatch, undefined);
  workload.took("backward", 2);
  assert.equal(workload.secondsPerMicroBatch, 3);
  assert.equal(workload.secondsOf(2, 1), 4);
});

Deno.test("what is measured follows a change, and not one sample", () => {
  const workload = new Workload();
  workload.took("backward", 0);
  for (let sample = 0; sample < 50; sample++) workload.took("forward", 1);
  workload.took("forward", 11);
  assert.ok(Math.abs(workload.secondsPerMicroBatch! - 2) < 0.01);
  for (let sample = 0; sample < 60; sample++) workload.took("forward", 4);
  assert.ok(Math.abs(workload.secondsPerMicroBatch! - 4) < 0.01);
});

Deno.test("before anything was measured nothing waits", () => {
  assert.equal(new Workload().secondsOf(5, 5), 0);
});
