/**
 * A host that takes walks in, computes them, and never hands a gradient back:
 * it says hello, so that nobody takes it for lost. It may cost time, not the run.
 */

import assert from "node:assert/strict";
import { countingDataset, tinyManifest } from "./data.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { assertClose, soloRun } from "./solo.ts";

Deno.test("a host that keeps its gradients to itself costs time, and no step", async () => {
  // More micro-batches than the one host of the first stage can hold.
  const manifest = tinyManifest({
    steps: 2,
    microBatchesPerStep: 24,
    model: { ...tinyManifest().model, width: 8, hidden: 8, heads: 1 },
  });
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed: 3,
    fault: (from, _to, { header }) =>
      from === "zombie" && (header as { kind: string }).kind === "backward" ? { kind: "drop" } : undefined,
  });
  [0, 1, 2].forEach((stage) => swarm.startHost(`host-${stage}`, stage));
  swarm.startHost("zombie", 1);
  swarm.startTrainer("trainer");
  assert.equal((await swarm.finish())?.kind, "done");
  assertClose(swarm.steps().map(({ loss }) => loss), (await soloRun(manifest)).losses, 1e-5, "losses");
  await swarm.close();
});
