import assert from "node:assert/strict";
import type { Manifest } from "../run/mod.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { assertClose, assertSameWeights, soloRun, weightsOf } from "./solo.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";

/** Every host that is left ends with the weights that one process ends with. */
async function assertWeights(swarm: SimulatedSwarm, manifest: Manifest, expected: readonly Float32Array[]) {
  for (const stage of swarm.stages.values()) {
    assert.equal(stage.step, manifest.steps);
    const { bytes } = await stage.exportState();
    assertSameWeights(weightsOf(manifest, stage.index, bytes), expected[stage.index], 1e-5);
  }
}

/** The checker: replicas of a stage end with the same state. */
function assertReplicasAgree(swarm: SimulatedSwarm): void {
  const hashes = swarm.steps().at(-1)!.stateHashes;
  assert.equal(hashes.length, 3);
  const members = swarm.events.filter((event) => event.kind === "lost" && event.reason.includes("state"));
  assert.deepEqual(members, []);
}

Deno.test("3 stages × 2 replicas in simulation take the same 30 steps as one process", async () => {
  const manifest = tinyManifest();
  const { losses: expected, weights } = await soloRun(manifest);
  const swarm = new SimulatedSwarm({ manifest, dataset: countingDataset(manifest), seed: 1 });
  for (const stage of [0, 1, 2]) {
    for (const replica of ["a", "b"]) swarm.startHost(`host-${stage}${replica}`, stage);
  }
  swarm.startTrainer("trainer");
  const last = await swarm.finish();
  assert.equal(last?.kind, "done");
  assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5);
  await assertWeights(swarm, manifest, weights);
  assertReplicasAgree(swarm);
  // Both replicas of each stage had a share.
  const served = new Map<string, number>();
  for (const step of swarm.steps()) {
    for (const [peer, count] of Object.entries(step.served)) {
      served.set(peer, (served.get(peer) ?? 0) + count);
    }
  }
  assert.equal(served.size, 6);
  assert.equal([...served.values()].reduce((sum, count) => sum + count, 0), 30 * 4 * 3);
  await swarm.close();
});

Deno.test("the same seed replays the same run, event for event", async () => {
  const manifest = tinyManifest({ steps: 4 });
  const runs: string[] = [];
  for (const seed of [5, 5, 6]) {
    const swarm = new SimulatedSwarm({ manifest, dataset: countingDataset(manifest), seed });
    for (const stage of [0, 1, 2]) {
      for (const replica of ["a", "b"]) swarm.startHost(`host-${stage}${replica}`, stage);
    }
    swarm.startTrainer("trainer");
    await swarm.finish();
    runs.push(JSON.stringify(swarm.events));
    await swarm.close();
  }
  assert.equal(runs[0], runs[1]);
  assert.notEqual(runs[0], runs[2]);
});

for (const victim of ["host-0b", "host-1b", "host-2b"]) {
  Deno.test(`${victim} dies in the middle of a step: every micro-batch still counts once`, async () => {
    const manifest = tinyManifest();
    const { losses: expected, weights } = await soloRun(manifest);
    const swarm = new SimulatedSwarm({ manifest, dataset: countingDataset(manifest), seed: 2 });
    for (const stage of [0, 1, 2]) {
      for (const replica of ["a", "b"]) swarm.startHost(`host-${stage}${replica}`, stage);
    }
    swarm.startTrainer("trainer");
    await swarm.until(() => swarm.steps().length === 10);
    const before = swarm.statuses.get(victim)!.accumulated;
    await swarm.until(() => swarm.statuses.get(victim)!.accumulated > before);
    swarm.kill(victim);
    const last = await swarm.finish();
    assert.equal(last?.kind, "done");
    assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5);
    await assertWeights(swarm, manifest, weights);
    assert.ok(swarm.steps()[10].replays > 0, "its micro-batches were sent again");
    await swarm.close();
  });
}

Deno.test("a host that joins in the middle fetches the state and serves with the same bits", async () => {
  const manifest = tinyManifest();
  const { losses: expected, weights } = await soloRun(manifest);
  const swarm = new SimulatedSwarm({ manifest, dataset: countingDataset(manifest), seed: 3 });
  for (const stage of [0, 1, 2]) swarm.startHost(`host-${stage}a`, stage);
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 8);
  swarm.startHost("newcomer");
  const last = await swarm.finish();
  assert.equal(last?.kind, "done");
  assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5);
  await assertWeights(swarm, manifest, weights);
  assert.ok(swarm.steps().some(({ served }) => (served.newcomer ?? 0) > 0), "the newcomer served");
  await swarm.close();
});
