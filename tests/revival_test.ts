/**
 * A stage that loses its last host: the run waits, and says so; a host that was
 * only cut off spares it everything, and one that returns with an older state on
 * its disk takes all stages back to there.
 */

import assert from "node:assert/strict";
import { MemorySnapshots } from "../sim/memory_snapshots.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { assertClose, soloRun } from "./solo.ts";

const STEPS = 16;
const manifest = tinyManifest({ steps: STEPS });
const STAGES = [0, 1, 2];

/** Two hosts of each stage, with their disks, in the middle of a run. */
async function underWay(seed: number, steps: number, snapshotEverySteps: number) {
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed,
    snapshotEverySteps,
  });
  const disks = new Map<string, MemorySnapshots>();
  for (const stage of STAGES) {
    for (const replica of ["a", "b"]) {
      const peer = `host-${stage}${replica}`;
      disks.set(peer, new MemorySnapshots());
      swarm.startHost(peer, stage, disks.get(peer));
    }
  }
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === steps);
  return { swarm, disks };
}

function reasons(swarm: SimulatedSwarm, stage: number): string[] {
  return swarm.events.flatMap((event) =>
    event.kind === "waiting" && event.stage === stage ? [event.reason] : []
  );
}

Deno.test("a run goes back to the newest step that a returning host and all other stages have on their disks", async () => {
  const { swarm, disks } = await underWay(21, 10, 4);
  for (const peer of ["host-1a", "host-1b"]) swarm.kill(peer);
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 120_000 });
  assert.equal(swarm.steps().length, 10, "without the stage no step is taken");
  assert.match(reasons(swarm, 1).at(-1)!, /its last host is gone.*state of step 10/);

  // A stranger brings nothing but the beginning, and the run is not started anew for it.
  swarm.startHost("stranger", 1, new MemorySnapshots());
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 120_000 });
  assert.equal(swarm.steps().length, 10);

  swarm.startHost("host-1a", 1, disks.get("host-1a"));
  assert.equal((await swarm.finish())?.kind, "done");
  assert.match(reasons(swarm, 1).at(-1)!, /goes back from step 10 to step 8/);
  assert.deepEqual(
    swarm.steps().map(({ step }) => step),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9, 10, 11, 12, 13, 14, 15, 16],
  );
  const taken = new Map(swarm.steps().map(({ step, loss }) => [step, loss]));
  assertClose(
    Array.from({ length: STEPS }, (_, index) => taken.get(index + 1)!),
    (await soloRun(manifest)).losses,
    1e-5,
  );
  assert.deepEqual(swarm.steps().at(-1)!.hosts, [2, 2, 2], "the stranger serves with the others");
  await swarm.close();
});

Deno.test("the step that was lost with a stage is not lost if a disk holds it", async () => {
  const { swarm, disks } = await underWay(22, 8, 1);
  await swarm.until(() => disks.get("host-2a")!.states.get(2)?.[0]?.manifest.step === 8);
  assert.equal(swarm.steps().length, 8);
  for (const peer of ["host-2a", "host-2b"]) swarm.kill(peer);
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 20_000 });
  swarm.startHost("host-2a", 2, disks.get("host-2a"));
  assert.equal((await swarm.finish())?.kind, "done");
  assert.deepEqual(
    swarm.steps().map(({ step }) => step),
    Array.from({ length: STEPS }, (_, index) => index + 1),
  );
  await swarm.close();
});

Deno.test("a run that could go back waits for a host that was only cut off", async () => {
  let cut: readonly string[] = [];
  const dataset = countingDataset(manifest);
  const swarm = new SimulatedSwarm({
    manifest,
    dataset,
    seed: 23,
    snapshotEverySteps: 4,
    fault: (from, to) => cut.includes(from) !== cut.includes(to) ? { kind: "drop" } : undefined,
  });
  const disks = new Map(STAGES.map((stage) => [stage, new MemorySnapshots()]));
  for (const stage of STAGES) swarm.startHost(`host-${stage}`, stage, disks.get(stage));
  const old = new MemorySnapshots();
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 6);
  for (const [stage, states] of disks.get(1)!.states) old.states.set(stage, [...states]);
  cut = ["host-1"];
  swarm.startHost("returning", 1, old);
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 20_000 });
  cut = [];
  assert.equal((await swarm.finish())?.kind, "done");
  assert.deepEqual(
    swarm.steps().map(({ step }) => step),
    Array.from({ length: STEPS }, (_, index) => index + 1),
  );
  await swarm.close();
});
