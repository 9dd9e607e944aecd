import assert from "node:assert/strict";
import { Line } from "./line.ts";

Deno.test("a line takes its time for each packet, one after the other", () => {
  const line = new Line(100_000_000);
  assert.equal(line.pass(10, 1250), 10.1);
  assert.ok(Math.abs(line.pass(10, 1250)! - 10.2) < 1e-9);
  assert.equal(line.pass(20, 1250), 20.1);
});

Deno.test("a line loses what comes when its queue is full, and nothing once it has run dry", () => {
  const line = new Line(100_000_000);
  let taken = 0;
  while (line.pass(0, 1250) !== undefined) taken++;
  assert.ok(Math.abs(taken - 500) <= 2, `${taken} packets of 0.1 ms each in 50 ms`);
  assert.equal(line.pass(1, 1250), line.pass(1, 0));
});

Deno.test("a line without a limit never waits", () => {
  const line = new Line(Infinity);
  assert.equal(line.pass(3, 1e9), 3);
});
