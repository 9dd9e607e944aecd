import assert from "node:assert/strict";
import { isPiece } from "../stages/mod.ts";
import { countingData, countingManifest } from "./counting_run.ts";
import { type AppliedSum, type Counted, CountingStage } from "./counting_stage.ts";
import { SimulatedSwarm } from "./swarm.ts";

const manifest = countingManifest({ stages: 3, microBatchesPerStep: 4, steps: 5 });

/** A micro-batch there and back through all stages, with `accumulate` at those named. */
async function walk(
  stages: readonly CountingStage[],
  step: number,
  microBatch: number,
  mask = [0, 1, 2],
  corpus = 0,
) {
  const batch = countingData(corpus).microBatch(step, microBatch);
  const shape = [1, 2];
  let input: Parameters<CountingStage["forward"]>[1] = { dataType: "i32", shape, data: batch.tokens };
  const targets = { dataType: "i32" as const, shape, data: batch.targets };
  let loss = NaN;
  for (const stage of stages) {
    const result = await stage.forward("key", input, stage.index === 2 ? targets : undefined, { keep: true });
    if (result.kind === "activation") input = result.activation;
    else if (result.kind === "loss") loss = result.lossSum;
  }
  let gradient: Awaited<ReturnType<CountingStage["backward"]>>;
  for (const stage of stages.toReversed()) {
    gradient = await stage.backward("key", gradient, { accumulate: mask.includes(stage.index) });
  }
  return loss;
}

Deno.test("the sum of gradients says how often each micro-batch was counted", async () => {
  const sums: AppliedSum[] = [];
  const counted: Counted[] = [];
  const watcher = {
    applied: (sum: AppliedSum) => sums.push(sum),
    counted: (it: Counted) => counted.push(it),
  };
  const stages = [0, 1, 2].map((index) => new CountingStage({ manifest, index, watcher }));
  assert.equal(await walk(stages, 0, 2), 3);
  await walk(stages, 0, 2, [1]);
  await walk(stages, 0, 0, [0, 1, 2], 7);
  await walk(stages, 7, 3, [0]);
  assert.deepEqual(stages.map(({ kept }) => kept), [0, 0, 0]);
  assert.equal(counted.length, 8);
  for (const stage of stages) {
    await stage.apply({ gradientSum: await stage.gradientSum(), scale: 0.1, learningRate: 0.01 });
  }
  assert.deepEqual(sums.map(({ counts }) => [...counts]), [[1, 0, 1, 0], [1, 0, 2, 0], [1, 0, 1, 0]]);
  assert.deepEqual(sums.map(({ strays }) => strays), [1, 0, 0]);
  assert.deepEqual(sums.map(({ corpora }) => [...corpora]), new Array(3).fill([7, 0, 0, 0]));
  assert.deepEqual(sums.map(({ step }) => step), [0, 0, 0]);
  assert.deepEqual([...await stages[0].gradientSum()], new Array(10).fill(0));
});

Deno.test("a state travels, and one that was tampered with is refused", async () => {
  const from = new CountingStage({ manifest, index: 1 });
  await from.apply({ gradientSum: Float32Array.of(1, 1, 1, 1, 0, 2), scale: 0.1, learningRate: 0.01 });
  const { manifest: state, bytes } = await from.exportState();
  assert.ok(isPiece(state, 0, bytes));
  const to = new CountingStage({ manifest, index: 1 });
  await to.importState(state, bytes);
  assert.equal(to.step, 1);
  assert.equal(to.check, from.check);
  assert.deepEqual(await to.describeState(), state);
  bytes[17] ^= 1;
  await assert.rejects(to.importState(state, bytes), /another hash/);
  await assert.rejects(new CountingStage({ manifest, index: 0 }).importState(state, bytes), /state/);
});

Deno.test("sums of the same micro-batches in another order are other bits", async () => {
  const checks = new Set<number>();
  for (const order of [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]]) {
    const stages = [0, 1, 2].map((index) => new CountingStage({ manifest, index }));
    for (const microBatch of order) await walk(stages, 0, microBatch);
    await stages[0].apply({ gradientSum: await stages[0].gradientSum(), scale: 1, learningRate: 1 });
    checks.add(stages[0].check);
  }
  assert.ok(checks.size > 1);
});

Deno.test("what is no hidden state of the stage before is refused", async () => {
  const stage = new CountingStage({ manifest, index: 1 });
  const input = (...data: number[]) => ({
    dataType: "f32" as const,
    shape: [1, 2, 2],
    data: Float32Array.from(data),
  });
  for (const bad of [input(0, 0, 1, 0), input(NaN, 0, 0, 0), input(0, -1, 0, 0), input(0, 0, 0)]) {
    await assert.rejects(stage.forward("key", bad, undefined, { keep: true }), TypeError);
  }
  await stage.forward("key", input(0, 1, 0, 0), undefined, { keep: true });
  await assert.rejects(stage.backward("key", undefined, { accumulate: true }), TypeError);
  await assert.rejects(stage.backward("key", input(0, 2, 2, 0), { accumulate: true }), TypeError);
  await assert.rejects(stage.backward("other", input(0, 1, 2, 0), { accumulate: true }), TypeError);
  await stage.backward("key", input(0, 1, 2, 0), { accumulate: true });
});

Deno.test("a swarm of counting stages counts each micro-batch once, to the end", async () => {
  const sums: AppliedSum[] = [];
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingData(),
    seed: 1,
    openStage: (index) =>
      Promise.resolve(new CountingStage({ manifest, index, watcher: { applied: (sum) => sums.push(sum) } })),
  });
  for (const stage of [0, 1, 2]) for (const name of ["a", "b"]) swarm.startHost(`${stage}${name}`, stage);
  swarm.startTrainer("trainer");
  assert.equal((await swarm.finish())?.kind, "done");
  assert.equal(sums.length, 5 * 6);
  for (const { counts, strays } of sums) assert.deepEqual([...counts, strays], [1, 1, 1, 1, 0]);
  await swarm.close();
});
