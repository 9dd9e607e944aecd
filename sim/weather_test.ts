import assert from "node:assert/strict";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { VirtualClock } from "../actors/core/virtual_clock.ts";
import type { Fault } from "./faults.ts";
import { Weather } from "./weather.ts";

function weather(...plan: Fault[]) {
  const clock = new VirtualClock();
  const sky = new Weather(clock, new SeededEntropy(1), plan);
  return {
    clock,
    at: (atMs: number, from: string, to: string) => (clock.advanceTo(atMs), sky.fault(from, to)),
  };
}

Deno.test("a partition holds frames back until it heals, or breaks the connection if that takes too long", () => {
  const { at } = weather({ kind: "partition", atMs: 1000, forMs: 60_000, peers: ["a", "b"], oneWay: false });
  assert.equal(at(0, "a", "c"), undefined);
  assert.deepEqual(at(1000, "a", "c"), { kind: "break", afterMs: 15_000 });
  assert.deepEqual(at(1000, "c", "b"), { kind: "break", afterMs: 15_000 });
  assert.equal(at(1000, "a", "b"), undefined);
  assert.equal(at(1000, "c", "d"), undefined);
  const late = at(56_000, "a", "c");
  assert.ok(late?.kind === "delay" && late.delayMs >= 5000 && late.delayMs < 5300);
  assert.equal(at(61_000, "a", "c"), undefined);
});

Deno.test("a partition of one way lets the other through", () => {
  const { at } = weather({ kind: "partition", atMs: 0, forMs: 10_000, peers: ["a"], oneWay: true });
  assert.equal(at(10, "a", "b")?.kind, "delay");
  assert.equal(at(10, "b", "a"), undefined);
});

Deno.test("a clog is between two peers, in one direction", () => {
  const { at } = weather({ kind: "clog", atMs: 0, forMs: 100, from: "a", to: "b" });
  assert.equal(at(0, "a", "b")?.kind, "delay");
  assert.equal(at(0, "b", "a"), undefined);
  assert.equal(at(0, "a", "c"), undefined);
});

Deno.test("loss is delay, and now and then a broken connection, never silence", () => {
  const { at } = weather({ kind: "loss", atMs: 0, forMs: 100, share: 0.5, breakShare: 0.1 });
  const kinds = new Map<string | undefined, number>();
  for (let frame = 0; frame < 1000; frame++) {
    const kind = at(0, "a", "b")?.kind;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  assert.deepEqual([...kinds.keys()].map(String).sort(), ["break", "delay", "undefined"]);
  assert.ok(kinds.get("delay")! > 350 && kinds.get("break")! > 50);
});
