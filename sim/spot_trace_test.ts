import assert from "node:assert/strict";
import fc from "fast-check";
import { spotTrace } from "./spot_trace.ts";

Deno.test("a seed gives one trace", () => {
  assert.deepEqual(spotTrace({ seed: 3 }), spotTrace({ seed: 3 }));
  assert.notDeepEqual(spotTrace({ seed: 3 }), spotTrace({ seed: 4 }));
});

Deno.test("time goes forward; a machine starts once, and is killed at most once, after that", () => {
  const options = fc.record({
    seed: fc.nat(),
    hours: fc.integer({ min: 1, max: 40 }),
    hosts: fc.integer({ min: 1, max: 200 }),
    zones: fc.integer({ min: 1, max: 6 }),
  });
  fc.assert(
    fc.property(options, (options) => {
      const alive = new Set<string>();
      const known = new Set<string>();
      let lastMs = 0;
      for (const { atMs, kind, peer } of spotTrace(options)) {
        assert.ok(atMs >= lastMs && atMs < options.hours * 3_600_000);
        lastMs = atMs;
        if (kind === "start") {
          assert.ok(!known.has(peer), `${peer} starts twice`);
          known.add(peer);
          alive.add(peer);
          assert.ok(alive.size <= options.hosts);
        } else assert.ok(alive.delete(peer), `${peer} is killed and not alive`);
      }
    }),
    { numRuns: 50 },
  );
});

Deno.test("a zone's machines go together and come one by one", () => {
  let alone = 0;
  let kills = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const trace = spotTrace({ seed }).map((event) => ({ ...event, zone: event.peer.split("-")[0] }));
    for (const { atMs, kind, zone, peer } of trace) {
      if (kind !== "kill") continue;
      kills++;
      const together = trace.some((other) =>
        other.kind === "kill" && other.zone === zone && other.peer !== peer &&
        Math.abs(other.atMs - atMs) <= 3 * 60_000
      );
      if (!together) alone++;
    }
  }
  assert.ok(alone < 0.25 * kills, `${alone} of ${kills} go alone`);
});
