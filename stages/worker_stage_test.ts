import assert from "node:assert/strict";
import { DeviceLost, ReferenceDevice } from "../kernels/mod.ts";
import { Dataset, GREEDY, parseManifest } from "../run/mod.ts";
import { BLOCK_TOKENS } from "./cache_blocks.ts";
import { CompiledStage } from "./compiled_stage.ts";
import { CacheFull } from "./sessions.ts";
import { createStages, trainSolo } from "./solo.ts";
import { continueSolo } from "./solo_sessions.ts";
import { WorkerStage } from "./worker_stage.ts";

const manifest = parseManifest(JSON.stringify({
  version: 1,
  name: "threads",
  model: { family: "llama", vocabulary: 256, width: 16, layers: 2, heads: 2, keyValueHeads: 1, hidden: 24 },
  stages: 2,
  sequenceLength: 8,
  sequencesPerMicroBatch: 2,
  microBatchesPerStep: 2,
  steps: 3,
  optimizer: { kind: "adamw", learningRate: 0.01, minimumLearningRate: 0.001, warmupSteps: 1, decaySteps: 3 },
  seed: 3,
}));
const tokens = { dataType: "i32", shape: [1, 2], data: Int32Array.of(1, 2) } as const;
const dataset = new Dataset(manifest, Int32Array.from({ length: 400 }, (_, index) => (index * index) % 256));

Deno.test("a stage in a thread computes what it computes here, to the bit", async () => {
  const device = new ReferenceDevice();
  const here = await createStages(device, manifest);
  const there = [];
  for (const index of [0, 1]) {
    there.push(await WorkerStage.open({ manifest, index, device: { name: "reference" } }));
  }
  const expected = await Array.fromAsync(trainSolo({ manifest, dataset, stages: here }));
  const found = await Array.fromAsync(trainSolo({ manifest, dataset, stages: there }));
  assert.deepEqual(found, expected);
  for (const index of [0, 1]) {
    assert.deepEqual(await there[index].describeState(), await here[index].describeState());
    assert.equal(there[index].step, 3);
    assert.equal(there[index].kept, 0);
    assert.equal(there[index].parameters, here[index].parameters);
  }
  await Promise.all(there.map((stage) => stage.close()));
  await device.close();
});

Deno.test("errors come back with their class and reason; the next call succeeds", async () => {
  const stage = await WorkerStage.open({ manifest, index: 0, device: { name: "reference" } });
  const wrong = { ...tokens, data: Int32Array.of(1, 256) };
  await assert.rejects(stage.forward("a", wrong, undefined, { keep: false }), TypeError);
  const result = await stage.forward("b", tokens, undefined, { keep: false });
  assert.equal(result.kind, "activation");
  assert.deepEqual([...tokens.data], [1, 2], "the caller's tensor is still the caller's");
  await stage.close();
  await assert.rejects(stage.describeState(), /was closed/);
});

Deno.test("sessions in a thread draw what they draw here; a full cache says so from there", async () => {
  const device = new ReferenceDevice();
  const here = await createStages(device, manifest);
  const there: WorkerStage[] = [];
  for (const index of [0, 1]) {
    const cacheBytes = BLOCK_TOKENS * 2 * 8 * 4; // one block of one layer
    there.push(await WorkerStage.open({ manifest, index, device: { name: "reference" }, cacheBytes }));
  }
  const prompt = Int32Array.of(9, 1, 2).subarray(1);
  const sampling = { ...GREEDY, temperature: 2, presencePenalty: 1, seed: 4, topLogProbabilities: 2 };
  const wish = { key: "a", prompt, tokens: 6, sampling };
  const expected = await Array.fromAsync(continueSolo({ stages: here, ...wish }));
  assert.deepEqual(await Array.fromAsync(continueSolo({ stages: there, ...wish })), expected);
  assert.deepEqual([...prompt], [1, 2], "the caller's text is still the caller's");

  const { sessions } = there[0];
  const run = (key: string) => sessions.extend({ sequences: [{ key, position: 0 }], input: tokens });
  await there[0].describeState(); // the end of the first session has arrived
  const facts = () => [sessions.capacityTokens, sessions.roomTokens, sessions.count];
  assert.deepEqual(facts(), [BLOCK_TOKENS, BLOCK_TOKENS, 0]);
  await run("b");
  assert.deepEqual(facts(), [BLOCK_TOKENS, 0, 1]);
  await assert.rejects(run("c"), CacheFull);
  sessions.end("b");
  await run("c");
  assert.deepEqual(facts(), [BLOCK_TOKENS, 0, 1]);
  await Promise.all([...here, ...there].map((stage) => stage.close()));
  await assert.rejects(run("c"), /was closed/);
  sessions.end("c");
});

Deno.test("a state goes from thread to thread", async () => {
  const device = new ReferenceDevice();
  const from = await CompiledStage.create({ device, manifest, index: 1 });
  const stage = await WorkerStage.open({ manifest, index: 1, device: { name: "reference" } });
  const { manifest: state, bytes } = await from.exportState();
  await stage.importState(state, bytes);
  assert.equal(bytes.length, state.bytes, "the caller's bytes are still the caller's");
  assert.deepEqual(await stage.exportState(), { manifest: state, bytes });
  await stage.close();
  await device.close();
});

for (
  const [what, call, reason] of [
    [
      "a device that is lost",
      (stage: WorkerStage) => stage.forward("a", tokens, undefined, { keep: true }),
      /unplugged/,
    ],
    [
      "a thread that crashes",
      (stage: WorkerStage) => stage.describeState(),
      /The thread of stage 0 crashed.*a bug in the thread/,
    ],
  ] as const
) {
  Deno.test(`${what} is told once, and fails every call that waits and every later one`, async () => {
    const lost: DeviceLost[] = [];
    const stage = await WorkerStage.open({
      manifest,
      index: 0,
      device: { name: "reference" },
      onLost: (error) => lost.push(error),
      program: new URL("./testing/losing_worker.ts", import.meta.url),
    });
    const isLoss = (error: unknown) => error instanceof DeviceLost && reason.test(error.message);
    await Promise.all([
      assert.rejects(call(stage), isLoss),
      assert.rejects(call(stage), isLoss),
    ]);
    await assert.rejects(stage.gradientSum(), isLoss);
    await stage.close();
    assert.equal(lost.length, 1);
    assert.ok(isLoss(lost[0]));
  });
}
