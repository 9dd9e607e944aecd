import assert from "node:assert/strict";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { type ChurnEvent, parseChurn, poissonChurn } from "./churn.ts";

const options = { hosts: 400, durationMs: 1e7, meanUpMs: 1e6, meanDownMs: 2.5e5, graceful: 0.25 };

Deno.test("hosts come and go in turn, and as many are up as there should be", () => {
  const events = poissonChurn(options, new SeededEntropy(1));
  assert.deepEqual(events, poissonChurn(options, new SeededEntropy(1)));
  const up = new Set<string>();
  let [upMs, lastMs] = [0, 0];
  for (const { atMs, kind, peer } of events) {
    assert.ok(atMs >= lastMs && atMs < options.durationMs);
    assert.equal(up.has(peer), kind !== "start");
    upMs += up.size * (atMs - lastMs);
    lastMs = atMs;
    if (kind === "start") up.add(peer);
    else up.delete(peer);
  }
  assert.ok(Math.abs(upMs / lastMs - 320) < 10, `${upMs / lastMs} hosts are up on the mean`);
  const left = events.filter(({ kind }) => kind !== "start");
  const stopped = left.filter(({ kind }) => kind === "stop").length / left.length;
  assert.ok(Math.abs(stopped - 0.25) < 0.03, `${stopped} of them leave in good order`);
});

Deno.test("a trace is read from lines, in any order", () => {
  const events: ChurnEvent[] = [{ atMs: 5, kind: "kill", peer: "a" }, { atMs: 0, kind: "start", peer: "a" }];
  const text = events.map((event) => JSON.stringify(event)).join("\n") + "\n\n";
  assert.deepEqual(parseChurn(text), events.toReversed());
});

Deno.test("a line that is no event is named", () => {
  const first = '{"atMs":0,"kind":"start","peer":"a"}';
  assert.throws(() => parseChurn(`${first}\nnonsense`), /Cannot read trace: line 2 is no JSON/);
  assert.throws(() => parseChurn(`${first}\n{"atMs":-1,"kind":"start","peer":"a"}`), /line 2, atMs/);
  assert.throws(() => parseChurn('{"atMs":0,"kind":"start","peer":"a","more":1}'), /line 1/);
  assert.throws(() => parseChurn("[]"), /line 1, event/);
});
