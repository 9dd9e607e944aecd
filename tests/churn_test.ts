/**
 * Break, then heal: hosts die and come at moments drawn from a seed while the run
 * goes on, one host of each stage excepted; then nothing happens any more, and
 * the run must end as it does on one machine.
 */

import assert from "node:assert/strict";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { assertClose, soloRun } from "./solo.ts";

/** More with `MURMURATION_SEEDS=500 deno task test tests/churn_test.ts`. */
const SEEDS = Number(Deno.env.get("MURMURATION_SEEDS") ?? 12);

const manifest = tinyManifest({
  steps: 20,
  model: { ...tinyManifest().model, width: 8, hidden: 8, heads: 1 },
});

/** Plays one seed: kills and starts hosts for a while, then lets the run end. */
async function play(seed: number): Promise<SimulatedSwarm> {
  const chance = new SeededEntropy(`churn ${seed}`);
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed,
    latencyMs: 1 + chance.integer(20),
    durationMs: (peer, work) => work.kind === "forward" || work.kind === "backward" ? 5 + peer.length * 3 : 2,
  });
  const kept = [0, 1, 2].map((stage) => `keep-${stage}`);
  kept.forEach((peer, stage) => swarm.startHost(peer, stage));
  const others: string[] = [];
  let started = 0;
  const start = () => {
    const peer = `host-${"x".repeat(chance.integer(8))}${started++}`;
    swarm.startHost(peer, chance.uniform() < 0.5 ? undefined : chance.integer(3));
    others.push(peer);
  };
  for (let i = 0; i < 4; i++) start();
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 1);
  for (let blow = 0; blow < 12; blow++) {
    await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 20 + chance.integer(800) });
    if (others.length > 0 && chance.uniform() < 0.6) {
      swarm.kill(others.splice(chance.integer(others.length), 1)[0]);
    } else start();
  }
  await swarm.finish();
  return swarm;
}

Deno.test(`under churn, ${SEEDS} seeds take the same steps as one machine`, async () => {
  const { losses: expected } = await soloRun(manifest);
  let lost = 0;
  let replays = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const swarm = await play(seed);
    const context = `seed ${seed}`;
    assert.equal(swarm.end?.kind, "done", `${context}: ${JSON.stringify(swarm.events.at(-1))}`);
    assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5, context);
    // Each cell of each step's table had one host.
    for (const { served, step } of swarm.steps()) {
      const cells = Object.values(served).reduce((sum, count) => sum + count, 0);
      assert.equal(cells, manifest.microBatchesPerStep * 3, `${context}, step ${step}`);
    }
    // Nobody strayed: replicas that took a step had the same state.
    assert.ok(
      !swarm.events.some((event) => event.kind === "lost" && event.reason.includes("state is not")),
      context,
    );
    lost += swarm.events.filter(({ kind }) => kind === "lost").length;
    replays += swarm.steps().reduce((sum, step) => sum + step.replays, 0);
    await swarm.close();
  }
  assert.ok(lost > 0 && replays > 0, "nothing broke: the test proves nothing");
});
