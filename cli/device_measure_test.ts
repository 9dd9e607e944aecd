import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { ReferenceDevice } from "../kernels/mod.ts";
import { parseManifest, partition, sliceOf } from "../run/mod.ts";
import { measureProduct, measureStage, withFewLayers } from "./device_measure.ts";

const manifest = parseManifest(JSON.stringify({
  version: 1,
  name: "measured",
  model: { family: "llama", vocabulary: 256, width: 16, layers: 12, heads: 2, hidden: 24 },
  stages: [5, 6],
  sequenceLength: 4,
  sequencesPerMicroBatch: 2,
  microBatchesPerStep: 2,
  steps: 3,
}));

Deno.test("a stage keeps its ends and has few layers", () => {
  for (const stages of [[5, 6], 1, 12]) {
    const run = { ...manifest, stages };
    for (const slice of partition(run)) {
      const cut = withFewLayers(run, slice);
      const few = sliceOf(cut.manifest, cut.index);
      assert.deepEqual([few.embedding, few.head], [slice.embedding, slice.head]);
      assert.equal(few.endLayer - few.firstLayer, Math.min(2, slice.endLayer - slice.firstLayer));
    }
  }
});

Deno.test("every kind of stage can be measured, and leaves nothing on the device", async () => {
  const device = new ReferenceDevice();
  const clock = new RealClock();
  for (const index of [0, 1, 2]) {
    assert.ok(await measureStage(device, manifest, index, clock, 0) > 0);
  }
  assert.ok(await measureStage(device, { ...manifest, stages: 1 }, 0, clock, 0) > 0);
  assert.ok(await measureProduct(device, clock, 0) > 0);
  assert.equal(device.bytesInUse(), 0);
});
