import assert from "node:assert/strict";
import { ReferenceDevice } from "../kernels/reference/device.ts";
import type { Manifest } from "../run/mod.ts";
import { createStages, trainSolo, validateSolo } from "./solo.ts";
import { tinyDataset, tinyManifest } from "./testing/fixtures.ts";

async function trained(manifest: Manifest, breakAfter = Infinity) {
  const device = new ReferenceDevice();
  const dataset = tinyDataset(manifest);
  const before = await createStages(device, manifest);
  const steps = [];
  for await (const step of trainSolo({ manifest, dataset, stages: before })) {
    steps.push(step);
    if (steps.length >= breakAfter) break;
  }
  let stages = before;
  if (breakAfter < Infinity) {
    // What a process that starts again does: read the state, go on.
    stages = await createStages(device, manifest);
    for (const [index, stage] of before.entries()) {
      const { manifest, bytes } = await stage.exportState();
      await stages[index].importState(manifest, bytes);
    }
    steps.push(...await Array.fromAsync(trainSolo({ manifest, dataset, stages })));
  }
  const states = [];
  for (const stage of stages) states.push((await stage.describeState()).stateHash);
  return { steps, states, validation: await validateSolo({ manifest, dataset, stages }) };
}

Deno.test("a tiny model learns a text that follows a rule", async () => {
  const manifest = tinyManifest({ steps: 80, stages: 2 });
  const { steps, validation } = await trained(manifest);
  assert.equal(steps.length, 80);
  assert.deepEqual(steps.map(({ step }) => step), Array.from({ length: 80 }, (_, index) => index + 1));
  const [first, last] = [steps[0].loss, steps[79].loss];
  assert.ok(Math.abs(first - Math.log(13)) < 0.05, `a fresh model knows nothing, and says so: ${first}`);
  assert.ok(last < 0.7 * first, `${first} → ${last}`);
  assert.ok(validation < 0.7 * first, `${validation}`);
  assert.ok(steps.every(({ gradientNorm }) => Number.isFinite(gradientNorm) && gradientNorm > 0));
});

Deno.test("training twice gives the same bits", async () => {
  const manifest = tinyManifest({ stages: 2 });
  assert.deepEqual(await trained(manifest), await trained(manifest));
});

Deno.test("another seed gives another model", async () => {
  const [one, other] = [await trained(tinyManifest()), await trained(tinyManifest({ seed: 8 }))];
  assert.notDeepEqual(one.states, other.states);
});

Deno.test("training that was broken off goes on as if nothing had happened", async () => {
  const manifest = tinyManifest({ stages: 3 });
  assert.deepEqual(await trained(manifest, 2), await trained(manifest));
});

Deno.test("however a model is cut, it learns the same", async () => {
  const whole = await trained(tinyManifest());
  const cut = await trained(tinyManifest({ stages: 3 }));
  cut.steps.forEach((step, index) => {
    assert.ok(Math.abs(step.loss - whole.steps[index].loss) < 1e-6);
    assert.ok(Math.abs(step.gradientNorm - whole.steps[index].gradientNorm) < 1e-6);
  });
});

Deno.test("clipping bounds the step and leaves the reported norm as it was", async () => {
  const loose = tinyManifest({ steps: 1 });
  const tight = { ...loose, optimizer: { ...loose.optimizer, clipNorm: 1e-6 } };
  const [free, clipped] = [await trained(loose), await trained(tight)];
  assert.deepEqual(clipped.steps, free.steps);
  assert.notDeepEqual(clipped.states, free.states);
});
