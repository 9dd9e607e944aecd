import assert from "node:assert/strict";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { bestThroughput, type CapacityRun, type CapacityRunOptions, runCapacity } from "./capacity_run.ts";
import { spotTrace } from "./spot_trace.ts";

const SEEDS = Array.from({ length: 12 }, (_, index) => index + 1);

function play(seed: number, change: Partial<CapacityRunOptions>): CapacityRun {
  return runCapacity({
    trace: spotTrace({ seed }),
    hours: 32,
    stages: 4,
    periodMs: 300_000,
    hysteresis: 0.02,
    placement: "neediest",
    fetchMs: 60_000,
    entropy: new SeededEntropy(seed),
    ...change,
  });
}

Deno.test("nobody comes, nobody goes: throughput is the best there is", () => {
  const trace = Array.from(
    { length: 9 },
    (_, index) => ({ atMs: 0, kind: "start" as const, peer: `${index}` }),
  );
  const run = play(1, { trace, hours: 2 });
  assert.deepEqual([run.share, run.shareOfLastHour, run.moves], [1, 1, 0]);
  assert.equal(run.points.length, 120);
  assert.equal(bestThroughput(9, 4), 2);
});

Deno.test("a killed host is missed until another has moved there and fetched the state", () => {
  const start = (peer: string) => ({ atMs: 0, kind: "start" as const, peer });
  // Stages 0 and 1 take turns: stage 0 has a and c, stage 1 has b and d, and e to g make four and three.
  const trace = [..."abcdefg"].map(start);
  const kill = (peer: string) => ({ atMs: 600_000, kind: "kill" as const, peer });
  const options = { trace: [...trace, kill("b"), kill("d")], hours: 1, stages: 2 };
  const still = play(1, { ...options, periodMs: undefined });
  // Ten minutes of three, then fifty of one where two could be.
  assert.equal(still.share, (10 * 3 + 50 * 1) / (10 * 3 + 50 * 2));
  const moving = play(1, options);
  assert.equal(moving.moves, 1);
  assert.ok(moving.share > 0.9 && moving.share < 1);
});

Deno.test("over 32 hours of pre-emptions rebalancing keeps 97 % of the best, and 95 % of it in the last hour", () => {
  let anywhere = 0;
  for (const seed of SEEDS) {
    const moving = play(seed, {});
    const still = play(seed, { periodMs: undefined });
    assert.ok(moving.share >= 0.97, `seed ${seed}: ${moving.share} overall`);
    assert.ok(moving.shareOfLastHour >= 0.95, `seed ${seed}: ${moving.shareOfLastHour} in the last hour`);
    assert.ok(moving.share > still.share, `seed ${seed}: placing newcomers alone does as well`);
    anywhere += play(seed, { periodMs: undefined, placement: "anywhere" }).share / SEEDS.length;
  }
  // As hard as the published trace: 82.7 % there, where nobody rebalances.
  assert.ok(anywhere > 0.77 && anywhere < 0.87, `without rebalancing ${anywhere}`);
});
