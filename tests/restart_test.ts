/** What survives when everybody goes at once: the states on the hosts' disks. */

import assert from "node:assert/strict";
import { countingDataset, tinyManifest } from "./data.ts";
import { MemorySnapshots } from "../sim/memory_snapshots.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { assertClose, soloRun } from "./solo.ts";

const manifest = tinyManifest({ steps: 16 });
const HOSTS = [0, 1, 2].flatMap((stage) =>
  ["a", "b"].map((replica) => ({ peer: `host-${stage}${replica}`, stage }))
);

Deno.test("after a power cut the run goes on at the last step that every stage has on a disk", async () => {
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed: 11,
    snapshotEverySteps: 4,
  });
  const disks = new Map(HOSTS.map(({ peer }) => [peer, new MemorySnapshots()]));
  const start = () => {
    for (const { peer, stage } of HOSTS) swarm.startHost(peer, stage, disks.get(peer));
  };
  start();
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 9);
  for (const { peer } of HOSTS) swarm.kill(peer);
  swarm.kill("trainer");
  const before = swarm.steps().map(({ loss }) => loss);
  // The cut came in the middle of a write: one stage has lost its newest.
  for (const peer of ["host-1a", "host-1b"]) disks.get(peer)!.states.get(1)!.shift();

  swarm.events.length = 0;
  start();
  swarm.startTrainer("trainer", true);
  assert.equal((await swarm.finish())?.kind, "done");
  assert.deepEqual(
    swarm.steps().map(({ step }) => step),
    Array.from({ length: 12 }, (_, index) => index + 5),
  );
  const losses = [...before.slice(0, 4), ...swarm.steps().map(({ loss }) => loss)];
  assertClose(losses, (await soloRun(manifest)).losses, 1e-5);
  await swarm.close();
});

Deno.test("a run that has taken steps is not started anew by mistake", async () => {
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed: 12,
    snapshotEverySteps: 2,
  });
  const disks = new Map(HOSTS.map(({ peer }) => [peer, new MemorySnapshots()]));
  for (const { peer, stage } of HOSTS) swarm.startHost(peer, stage, disks.get(peer));
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 3);
  swarm.kill("trainer");
  swarm.events.length = 0;
  swarm.startTrainer("trainer-2");
  const last = await swarm.finish();
  assert.equal(last?.kind, "failed");
  assert.match(last.reason, /already stand at step 3; pass --resume/);
  swarm.kill("trainer-2");

  // Hosts that went on holding the state take the next trainer that may resume.
  swarm.events.length = 0;
  swarm.startTrainer("trainer-3", true);
  assert.equal((await swarm.finish())?.kind, "done");
  assert.equal(swarm.steps()[0].step, 4);
  await swarm.close();
});
