import assert from "node:assert/strict";
import { countingDataset, tinyManifest } from "../tests/data.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { WALK_TIMEOUT_MS_MIN } from "./limits.ts";

const manifest = tinyManifest({
  steps: 4,
  microBatchesPerStep: 6,
  model: { ...tinyManifest().model, width: 8, hidden: 8, heads: 1 },
});

/** Kills one of two hosts of a stage so long after the second step. @returns virtual seconds of the step that was hit. */
async function stepOfDeath(stage: number, afterMs: number): Promise<number> {
  const swarm = new SimulatedSwarm({ manifest, dataset: countingDataset(manifest), seed: 1 });
  for (let index = 0; index < 3; index++) {
    for (const name of ["a", "b"]) swarm.startHost(`${name}${index}`, index);
  }
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 2);
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + afterMs });
  swarm.kill(`a${stage}`);
  assert.equal((await swarm.finish())?.kind, "done");
  const { seconds } = swarm.steps()[2];
  await swarm.close();
  return seconds;
}

Deno.test("A host's death anywhere costs no time-out: its walks are sent again as soon as it is known to be gone", async () => {
  for (let stage = 0; stage < 3; stage++) {
    for (let afterMs = 0; afterMs < 240; afterMs += 30) {
      const seconds = await stepOfDeath(stage, afterMs);
      assert.ok(seconds * 1000 < WALK_TIMEOUT_MS_MIN, `stage ${stage}, after ${afterMs} ms: ${seconds} s`);
    }
  }
});
