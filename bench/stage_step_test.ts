import assert from "node:assert/strict";
import { ReferenceDevice } from "../kernels/mod.ts";
import { openStage, stageManifest } from "./stage_step.ts";

Deno.test("a stage of the benchmark takes a step and leaves nothing behind", async () => {
  const device = new ReferenceDevice();
  const manifest = stageManifest(64, "f32");
  {
    await using stage = await openStage(device, manifest);
    await stage.step();
    const { sequenceLength, sequencesPerMicroBatch, microBatchesPerStep } = manifest;
    assert.equal(stage.tokens, sequenceLength * sequencesPerMicroBatch * microBatchesPerStep);
  }
  assert.equal(device.bytesInUse(), 0);
  await device.close();
});
