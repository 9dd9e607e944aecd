/**
 * Replicas of one stage that compute on different devices: after the same
 * reduced gradients they hold the same state, to the bit. What each computes of
 * activations and gradients by itself may differ in its last digits; that is
 * summed once, and its sum is what all of them apply.
 */

import assert from "node:assert/strict";
import { ReferenceDevice } from "../kernels/mod.ts";
import { DEVICES } from "../kernels/testing/devices.ts";
import { randomFrom } from "../kernels/testing/random.ts";
import { CompiledStage } from "./compiled_stage.ts";
import { scatter, tinyManifest } from "./testing/fixtures.ts";

const STEPS = 6;

for (const { name, open } of DEVICES.filter(({ name }) => name !== "reference")) {
  Deno.test({
    name: `${name}: a replica keeps the reference's state hash` +
      (open ? "" : " (skipped: device is absent)"),
    ignore: !open,
    async fn() {
      const device = await open!();
      const manifest = tinyManifest();
      const truth = await CompiledStage.create({ device: new ReferenceDevice(), manifest, index: 0 });
      let replica = await CompiledStage.create({ device, manifest, index: 0 });
      for (const stage of [truth, replica]) await scatter(stage);
      for (let step = 1; step <= STEPS; step++) {
        const update = {
          gradientSum: gradientOf(step, truth.parameters),
          scale: 1 / 96,
          learningRate: 0.01 / step,
        };
        await Promise.all([truth.apply(update), replica.apply(update)]);
        const expected = await truth.describeState();
        assert.equal((await replica.describeState()).stateHash, expected.stateHash, `step ${step}`);
        if (step !== STEPS / 2) continue;
        // A newcomer on that device takes the state over, and goes on as if it had been there.
        await replica.close();
        replica = await CompiledStage.create({ device, manifest, index: 0 });
        const { manifest: described, bytes } = await truth.exportState();
        await replica.importState(described, bytes);
      }
      await replica.close();
      await truth.close();
      assert.equal(device.bytesInUse(), 0);
      await device.close();
    },
  });
}

/** Elements of all magnitudes, and some that are zero, as tokens that nobody saw leave them. */
function gradientOf(step: number, count: number): Float32Array {
  const random = randomFrom(step);
  const magnitudes = [0, 1e-38, 1e-22, 1e-6, 1, 1e12];
  return Float32Array.from(
    { length: count },
    () => magnitudes[Math.floor(random() * magnitudes.length)] * (2 * random() - 1),
  );
}
