/** A device that is lost in the middle of a step costs its host what it held, and the run nothing. */

import assert from "node:assert/strict";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { CompiledStage, DeviceLost } from "../stages/mod.ts";
import { FailingDevice } from "../stages/testing/failing_device.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { assertClose, soloRun } from "./solo.ts";

Deno.test("a host that loses its device comes back on another, and every micro-batch still counts once", async () => {
  const manifest = tinyManifest();
  const { losses: expected } = await soloRun(manifest);
  const victim = "host-1b";
  const devices: FailingDevice[] = [];
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed: 4,
    openStage: (index, peer) => {
      const device = new FailingDevice();
      if (peer === victim) devices.push(device);
      return CompiledStage.create({ device, manifest, index });
    },
  });
  for (const stage of [0, 1, 2]) {
    for (const replica of ["a", "b"]) swarm.startHost(`host-${stage}${replica}`, stage);
  }
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 10);
  const before = swarm.statuses.get(victim)!.accumulated;
  await swarm.until(() => swarm.statuses.get(victim)!.accumulated > before);
  devices[0].trouble = new DeviceLost("unplugged");
  devices[0].runsLeft = 0;

  const last = await swarm.finish();
  assert.equal(last?.kind, "done");
  assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5);
  assert.equal(devices.length, 2, "it has opened its stage on another device");
  const after = swarm.steps().slice(11);
  assert.ok(after.some(({ served }) => (served[victim] ?? 0) > 0), "it has served again");
  assert.ok(swarm.steps().some(({ replays }) => replays > 0), "what it held was sent again");
  await swarm.close();
});
