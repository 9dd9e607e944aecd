import assert from "node:assert/strict";
import type { Device, HostTensor } from "../kernels/mod.ts";
import { ReferenceDevice } from "../kernels/reference/device.ts";
import { DEVICES } from "../kernels/testing/devices.ts";
import { evaluate } from "../kernels/testing/evaluate.ts";
import { type Manifest, partition, sliceOf } from "../run/mod.ts";
import { CompiledStage } from "./compiled_stage.ts";
import { decoderGraph } from "./decoder.ts";
import { createStages } from "./solo.ts";
import type { Stage } from "./stage.ts";
import { FailingDevice } from "./testing/failing_device.ts";
import { LateDevice } from "./testing/late_device.ts";
import { randomTensor, scatter, tensorsOf, tinyDataset, tinyManifest } from "./testing/fixtures.ts";

const whole = tinyManifest();
const pair = tinyManifest({ stages: 2 });
const { tokens, targets } = tensorsOf(whole, tinyDataset(whole).microBatch(0, 0));
const other = tensorsOf(whole, tinyDataset(whole).microBatch(0, 1));

/** Scattered stages of a run. */
async function stagesOf(
  manifest: Manifest,
  device: Device = new ReferenceDevice(),
): Promise<CompiledStage[]> {
  const stages = await createStages(device, manifest);
  for (const stage of stages) await scatter(stage);
  return stages;
}

/** Through all stages and back. */
async function learn(
  stages: readonly Stage[],
  key: string,
  batch: { readonly tokens: HostTensor; readonly targets: HostTensor },
  accumulate = true,
): Promise<{ lossSum: number; tokens: number; gradients: (HostTensor | undefined)[] }> {
  let input = batch.tokens;
  let found = { lossSum: NaN, tokens: NaN };
  for (const stage of stages) {
    const last = stage.index === stage.count - 1;
    const result = await stage.forward(key, input, last ? batch.targets : undefined, { keep: true });
    if (result.kind === "activation") input = result.activation;
    if (result.kind === "loss") found = result;
  }
  const gradients: (HostTensor | undefined)[] = [];
  for (const stage of stages.toReversed()) {
    gradients.unshift(await stage.backward(key, gradients[0], { accumulate }));
  }
  return { lossSum: found.lossSum, tokens: found.tokens, gradients };
}

/** Gradient sums of all stages, one after the other. */
async function sumsOf(stages: readonly Stage[]): Promise<number[]> {
  const sums = [];
  for (const stage of stages) sums.push(...await stage.gradientSum());
  return sums;
}

function assertNear(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string) {
  assert.equal(actual.length, expected.length, what);
  const largest = Array.from(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs(actual[index] - expected[index]);
    assert.ok(difference <= tolerance * largest, `${what} ${index}: ${actual[index]} not ${expected[index]}`);
  }
}

Deno.test("gradients are those of finite differences", async () => {
  const stages = await stagesOf(pair);
  const { lossSum, tokens: counted } = await learn(stages, "a", { tokens, targets });
  const found = await sumsOf(stages);
  assert.equal(counted, 12);

  // The uncut model in float64 tells the loss that a change of one parameter makes.
  const [slice] = partition(whole);
  const graph = decoderGraph(whole.model, slice, "loss");
  const uncut = await CompiledStage.create({ device: new ReferenceDevice(), manifest: whole, index: 0 });
  const values = await scatter(uncut);
  const inputs = {
    tokens: { shape: tokens.shape, data: [...tokens.data] },
    targets: { shape: targets.shape, data: [...targets.data] },
    positions: { shape: [6], data: [0, 1, 2, 3, 4, 5] },
    ...Object.fromEntries(
      uncut.layout.parameters.map(({ name, shape }) => [name, { shape, data: [...values.get(name)!] }]),
    ),
  };
  assert.ok(Math.abs(evaluate(graph, inputs).loss.data[0] - lossSum) < 1e-4);
  for (const { name, shape, size, offset } of uncut.layout.parameters) {
    const gradient = found.slice(offset, offset + size);
    const steepest = gradient.reduce(
      (most, value, i) => Math.abs(value) > Math.abs(gradient[most]) ? i : most,
      0,
    );
    for (const index of new Set([steepest, size >> 1])) {
      const lossAt = (change: number) => {
        const data = [...values.get(name)!];
        data[index] += change;
        return evaluate(graph, { ...inputs, [name]: { shape, data } }).loss.data[0];
      };
      const slope = (lossAt(1e-4) - lossAt(-1e-4)) / 2e-4;
      const tolerance = 1e-4 * Math.max(1, Math.abs(slope));
      assert.ok(
        Math.abs(slope - gradient[index]) < tolerance,
        `${name} ${index}: gradient ${gradient[index]}, slope ${slope}`,
      );
    }
  }
});

Deno.test("however a model is cut, loss and gradients have the same bits", async () => {
  const uncut = await stagesOf(whole);
  const expected = await learn(uncut, "a", { tokens, targets });
  const expectedSums = await sumsOf(uncut);
  for (const stages of [2, 3, [1], [2]]) {
    const cut = await stagesOf(tinyManifest({ stages }));
    const found = await learn(cut, "a", { tokens, targets });
    assert.equal(found.lossSum, expected.lossSum);
    assert.deepEqual(await sumsOf(cut), expectedSums);
  }
});

Deno.test("however a model is cut, it is initialised with the same bits", async () => {
  const device = new ReferenceDevice();
  const parametersOf = async (manifest: Manifest) => {
    const values = new Map<string, string>();
    for (const stage of await createStages(device, manifest)) {
      const { bytes } = await stage.exportState();
      for (const { name, offset, size } of stage.layout.parameters) {
        values.set(name, bytes.slice(16 + 4 * offset, 16 + 4 * (offset + size)).toString());
      }
    }
    return values;
  };
  assert.deepEqual(await parametersOf(tinyManifest({ stages: 3 })), await parametersOf(whole));
});

Deno.test("accumulating micro-batches adds their gradients", async () => {
  const alone: number[][] = [];
  for (const batch of [{ tokens, targets }, other]) {
    const stages = await stagesOf(pair);
    await learn(stages, "a", batch);
    alone.push(await sumsOf(stages));
  }
  const stages = await stagesOf(pair);
  await learn(stages, "a", { tokens, targets });
  await learn(stages, "b", other);
  assert.deepEqual(
    await sumsOf(stages),
    alone[0].map((value, index) => Math.fround(value + alone[1][index])),
  );
  for (const stage of stages) await stage.clearGradients();
  assert.ok((await sumsOf(stages)).every((value) => value === 0));
});

Deno.test("without accumulating, the gradient by the input is the same and nothing is counted", async () => {
  const stages = await stagesOf(tinyManifest({ stages: 3 }));
  const passed = await learn(stages, "a", { tokens, targets }, false);
  assert.ok((await sumsOf(stages)).every((value) => value === 0));
  const counted = await learn(stages, "a", { tokens, targets });
  assert.deepEqual(passed.gradients, counted.gradients);
  assert.equal(counted.gradients[0], undefined);
  assert.deepEqual(counted.gradients[1]!.shape, [2, 6, 12]);
});

Deno.test("without keeping, the loss is the same and nothing is kept", async () => {
  const [stage] = await stagesOf(whole);
  const { lossSum } = await learn([stage], "a", { tokens, targets });
  const result = await stage.forward("b", tokens, targets, { keep: false });
  assert.deepEqual(result, { kind: "loss", lossSum, tokens: 12 });
  assert.equal(stage.kept, 0);
});

Deno.test("targets of −1 are not learnt and not counted", async () => {
  const [stage] = await stagesOf(whole);
  const some = {
    ...targets,
    data: (targets.data as Int32Array).map((target, i) => i % 3 === 0 ? target : -1),
  };
  const found = await learn([stage], "a", { tokens, targets: some });
  assert.equal(found.tokens, 4);
  await stage.clearGradients();
  const none = await learn([stage], "a", {
    tokens,
    targets: { ...targets, data: new Int32Array(12).fill(-1) },
  });
  assert.deepEqual([none.lossSum, none.tokens], [0, 0]);
  assert.ok((await stage.gradientSum()).every((value) => value === 0));
});

Deno.test("without targets, the last stage yields the logits of each last position", async () => {
  const stages = await stagesOf(pair);
  const hidden = await stages[0].forward("a", tokens, undefined, { keep: false });
  assert.equal(hidden.kind, "activation");
  const result = await stages[1].forward("a", hidden.activation, undefined, { keep: false });
  assert.equal(result.kind, "logits");
  assert.deepEqual(result.logits.shape, [2, 13]);

  // A loss that counts the last positions alone is what these logits say.
  const last = { ...targets, data: (targets.data as Int32Array).map((t, i) => i % 6 === 5 ? t : -1) };
  const loss = await stages[1].forward("b", hidden.activation, last, { keep: false });
  assert.equal(loss.kind, "loss");
  let expected = 0;
  for (const sequence of [0, 1]) {
    const row = [...result.logits.data.subarray(sequence * 13, sequence * 13 + 13)];
    expected += Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) -
      row[targets.data[sequence * 6 + 5]];
  }
  assert.ok(Math.abs(loss.lossSum - expected) < 1e-5, `${loss.lossSum} not ${expected}`);
});

Deno.test("shorter sequences and fewer of them are taken too", async () => {
  const [stage] = await stagesOf(whole);
  const short: HostTensor = { dataType: "i32", shape: [1, 3], data: tokens.data.slice(0, 3) };
  const result = await stage.forward("a", short, undefined, { keep: false });
  assert.equal(result.kind, "logits");
  assert.deepEqual(result.logits.shape, [1, 13]);
});

Deno.test("memory goes back to where it was after backward, release and refusal", async () => {
  const device = new ReferenceDevice();
  const stages = await stagesOf(pair, device);
  const before = device.bytesInUse();
  await learn(stages, "a", { tokens, targets });
  assert.equal(device.bytesInUse(), before);

  await stages[0].forward("b", tokens, undefined, { keep: true });
  assert.ok(device.bytesInUse() > before);
  assert.equal(stages[0].kept, 1);
  stages[0].release("b");
  stages[0].release("never kept");
  assert.equal(stages[0].kept, 0);
  assert.equal(device.bytesInUse(), before);

  await assert.rejects(stages[0].forward("c", targets, targets, { keep: true }));
  await stages[0].forward("d", tokens, undefined, { keep: false });
  assert.equal(device.bytesInUse(), before);

  await stages[0].forward("e", tokens, undefined, { keep: true });
  for (const stage of stages) await stage.close();
  await stages[0].close();
  assert.equal(device.bytesInUse(), 0);
});

Deno.test("calls take their turns in the order in which they were made", async () => {
  const [stage] = await stagesOf(whole);
  const forward = stage.forward("a", tokens, targets, { keep: true });
  const backward = stage.backward("a", undefined, { accumulate: true });
  const again = stage.forward("a", tokens, targets, { keep: true });
  stage.release("a");
  const sum = stage.gradientSum();
  const cleared = stage.clearGradients();
  const zero = stage.gradientSum();
  await Promise.all([forward, backward, again, cleared]);
  assert.ok((await sum).some((value) => value !== 0));
  assert.ok((await zero).every((value) => value === 0));
  assert.equal(stage.kept, 0);
});

Deno.test("a failed call leaves its place in the order to the next", async () => {
  const [stage] = await stagesOf(whole);
  const failing = stage.backward("missing", undefined, { accumulate: true });
  const next = stage.forward("a", tokens, targets, { keep: false });
  await assert.rejects(failing, {
    name: "TypeError",
    message: "Cannot go back through micro-batch missing: nothing is kept of it",
  });
  assert.equal((await next).kind, "loss");
});

/** Middle stage of three on a device that reads back when it is told to. */
async function lateStage(): Promise<{ readonly device: LateDevice; readonly stage: CompiledStage }> {
  const device = new LateDevice();
  const stage = (await stagesOf(tinyManifest({ stages: 3 }), device))[1];
  device.runs = 0;
  return { device, stage };
}

/** Resolves once everything that waits for nothing else has been done. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}

Deno.test("a micro-batch is computed while another's results are on their way", async () => {
  const { device, stage } = await lateStage();
  device.hold();
  const results = ["a", "b"].map((key) => stage.forward(key, hidden, undefined, { keep: true }));
  await settle();
  assert.equal(device.runs, 2);
  device.arrive();
  assert.deepEqual(await results[0], await results[1]);

  device.hold();
  const back = ["a", "b"].map((key) => stage.backward(key, hidden, { accumulate: true }));
  const sum = stage.gradientSum();
  await settle();
  assert.equal(device.runs, 4);
  assert.equal(await Promise.race([sum, Promise.resolve("waits")]), "waits");
  device.arrive();
  assert.deepEqual(await back[0], await back[1]);

  // The same as one after the other.
  const [, truth] = await stagesOf(tinyManifest({ stages: 3 }));
  for (const key of ["a", "b"]) {
    assert.deepEqual(await truth.forward(key, hidden, undefined, { keep: true }), await results[0]);
    assert.deepEqual(await truth.backward(key, hidden, { accumulate: true }), await back[0]);
  }
  assert.deepEqual(await sum, await truth.gradientSum());
});

Deno.test("calls for one micro-batch wait for each other's results", async () => {
  const { device, stage } = await lateStage();
  device.hold();
  const forward = stage.forward("a", hidden, undefined, { keep: true });
  const backward = stage.backward("a", hidden, { accumulate: true });
  await settle();
  assert.equal(device.runs, 1);
  device.arrive();
  await forward;
  await backward;
  device.hold();
  const again = stage.forward("a", hidden, undefined, { keep: true });
  stage.release("a");
  await settle();
  assert.equal(stage.kept, 1);
  device.arrive();
  await again;
  await stage.describeState();
  assert.equal(stage.kept, 0);
});

Deno.test("what fails on its way back is known before anybody is told of the sum", async () => {
  const { device, stage } = await lateStage();
  const before = device.bytesInUse();
  for (const key of ["a", "b"]) await stage.forward(key, hidden, undefined, { keep: true });
  device.hold();
  const huge = { ...hidden, data: hidden.data.map((value) => value < 0 ? -3e38 : 3e38) };
  const spoilt = stage.backward("a", huge, { accumulate: true });
  const next = stage.backward("b", hidden, { accumulate: true });
  const sum = stage.gradientSum();
  device.arrive();
  await assert.rejects(spoilt, { name: "RangeError" });
  await next.catch(() => {}); // it may have been told already
  await assert.rejects(sum, /adding micro-batch a failed; clear the gradients first/);
  await stage.clearGradients();
  stage.release("b");
  await stage.describeState();
  assert.equal(device.bytesInUse(), before);
});

Deno.test("a forward whose result can't leave keeps nothing, whatever was asked for meanwhile", async () => {
  const { device, stage } = await lateStage();
  const before = device.bytesInUse();
  device.hold();
  device.spoilsNext = true;
  const results = [
    stage.forward("a", hidden, undefined, { keep: true }),
    stage.forward("b", hidden, undefined, { keep: true }),
    stage.backward("a", hidden, { accumulate: true }),
  ];
  device.arrive();
  const [first, second, third] = await Promise.allSettled(results);
  assert.equal(first.status, "rejected");
  assert.equal(second.status, "fulfilled");
  assert.match(`${third.status === "rejected" && third.reason}`, /nothing is kept of it/);
  stage.release("b");
  await stage.describeState();
  assert.equal(device.bytesInUse(), before);
});

const [first] = await stagesOf(pair);
const last = (await stagesOf(pair))[1];
const hidden = randomTensor(1, 2, 6, 12);
const withValue = (tensor: HostTensor, value: number): HostTensor => {
  const data = tensor.data.slice();
  data[5] = value;
  return { ...tensor, data };
};

const refusedForward: readonly [why: string, Stage, HostTensor, HostTensor | undefined, RegExp][] = [
  ["tokens of f32", first, { ...hidden, shape: [2, 6] }, undefined, /input is f32, expected i32/],
  ["hidden states of i32", last, tokens, targets, /input is i32, expected f32/],
  [
    "a type that lies about its data",
    first,
    { ...tokens, data: new Float32Array(12) },
    undefined,
    /expected i32/,
  ],
  [
    "a token above the vocabulary",
    first,
    withValue(tokens, 13),
    undefined,
    /token 5 is 13, expected .* 0 to 12/,
  ],
  ["a token below zero", first, withValue(tokens, -1), undefined, /token 5 is -1/],
  [
    "too long a sequence",
    first,
    { dataType: "i32", shape: [1, 7], data: new Int32Array(7) },
    undefined,
    /6 tokens/,
  ],
  [
    "too many sequences",
    first,
    { dataType: "i32", shape: [3, 6], data: new Int32Array(18) },
    undefined,
    /2 such/,
  ],
  [
    "no tokens",
    first,
    { dataType: "i32", shape: [0, 6], data: new Int32Array(0) },
    undefined,
    /input is \[0, 6\]/,
  ],
  ["no shape", first, { dataType: "i32", shape: [], data: new Int32Array(1) }, undefined, /input is \[\]/],
  ["a broken shape", first, { ...tokens, shape: [1.5, 6] }, undefined, /input is \[1.5, 6\]/],
  [
    "less data than shape",
    first,
    { ...tokens, data: new Int32Array(11) },
    undefined,
    /holds 11 values, expected 12/,
  ],
  ["another width", last, randomTensor(1, 2, 6, 11), targets, /input is \[2, 6, 11\], expected \[2, 6, 12\]/],
  ["NaN in hidden states", last, withValue(hidden, NaN), targets, /value 5 of input is NaN/],
  ["infinity in hidden states", last, withValue(hidden, -Infinity), targets, /value 5 of input is -Infinity/],
  ["targets at the first stage", first, tokens, targets, /targets are given to stage 0 of 2/],
  ["a target above the vocabulary", last, hidden, withValue(targets, 13), /target 5 is 13/],
  ["a target below −1", last, hidden, withValue(targets, -2), /target 5 is -2/],
  ["targets of another shape", last, hidden, { ...targets, shape: [3, 4] }, /targets is \[3, 4\]/],
  ["keeping without targets", last, hidden, undefined, /it is to be kept, and its targets are missing/],
];

for (const [why, stage, input, wanted, message] of refusedForward) {
  Deno.test(`forward refuses ${why}`, async () => {
    await assert.rejects(stage.forward("x", input, wanted, { keep: true }), { name: "TypeError", message });
    assert.equal(stage.kept, 0);
  });
}

Deno.test("forward refuses to keep a micro-batch twice", async () => {
  const [stage] = await stagesOf(pair);
  await stage.forward("a", tokens, undefined, { keep: true });
  await assert.rejects(stage.forward("a", tokens, undefined, { keep: true }), {
    message: "Cannot forward micro-batch a: it is kept already",
  });
  assert.equal(stage.kept, 1);
});

const refusedGradients: readonly [why: string, gradient: HostTensor | undefined, RegExp][] = [
  ["no gradient", undefined, /its gradient is missing/],
  ["another shape", randomTensor(1, 2, 6, 11), /gradient is \[2, 6, 11\]/],
  ["another batch", randomTensor(1, 1, 6, 12), /gradient is \[1, 6, 12\]/],
  ["NaN", withValue(hidden, NaN), /value 5 of gradient is NaN/],
  ["infinity", withValue(hidden, Infinity), /value 5 of gradient is Infinity/],
  ["integers", { ...tokens, shape: [2, 6, 12], data: new Int32Array(144) }, /gradient is i32/],
];

for (const [why, gradient, message] of refusedGradients) {
  Deno.test(`backward refuses ${why}, counts nothing, and can be asked again`, async () => {
    const [stage] = await stagesOf(pair);
    await stage.forward("a", tokens, undefined, { keep: true });
    for (const accumulate of [true, false]) {
      await assert.rejects(stage.backward("a", gradient, { accumulate }), { name: "TypeError", message });
    }
    assert.ok((await stage.gradientSum()).every((value) => value === 0));
    await stage.backward("a", hidden, { accumulate: true });
    assert.ok((await stage.gradientSum()).some((value) => value !== 0));
    await assert.rejects(stage.backward("a", hidden, { accumulate: true }), /nothing is kept of it/);
  });
}

Deno.test("the last stage takes no gradient", async () => {
  const [, stage] = await stagesOf(pair);
  await stage.forward("a", hidden, targets, { keep: true });
  await assert.rejects(stage.backward("a", hidden, { accumulate: true }), /the last stage takes no gradient/);
});

Deno.test("numbers that outgrow f32 inside the stage do not leave it", async () => {
  const [, stage] = await stagesOf(pair);
  await stage.forward("a", hidden, targets, { keep: true });
  await stage.backward("a", undefined, { accumulate: true });
  const [earlier] = await stagesOf(pair);
  await earlier.forward("a", tokens, undefined, { keep: true });
  const huge = { ...hidden, data: hidden.data.map((value) => value < 0 ? -3e38 : 3e38) };
  await earlier.backward("a", huge, { accumulate: true });
  await assert.rejects(earlier.gradientSum(), { name: "RangeError", message: /Cannot read gradient sum/ });
  await earlier.clearGradients();
  assert.ok((await earlier.gradientSum()).every((value) => value === 0));
});

Deno.test("a gradient that outgrows f32 on its way through spoils the sum, and the stage knows", async () => {
  const stage = (await stagesOf(tinyManifest({ stages: 3 })))[1];
  await stage.forward("a", hidden, undefined, { keep: true });
  const huge = { ...hidden, data: hidden.data.map((value) => value < 0 ? -3e38 : 3e38) };
  await assert.rejects(stage.backward("a", huge, { accumulate: true }), { name: "RangeError" });
  await assert.rejects(stage.gradientSum(), /adding micro-batch a failed; clear the gradients first/);
  await stage.forward("b", hidden, undefined, { keep: true });
  await assert.rejects(stage.backward("b", hidden, { accumulate: true }), /clear the gradients first/);
  await stage.backward("b", hidden, { accumulate: false });
  await stage.clearGradients();
  assert.ok((await stage.gradientSum()).every((value) => value === 0));
});

Deno.test("a device that fails in the middle of adding leaves no half-counted micro-batch behind", async () => {
  const device = new FailingDevice();
  const [stage] = await stagesOf(whole, device);
  const before = device.bytesInUse();
  await stage.forward("a", tokens, targets, { keep: true });
  device.runsLeft = 0;
  await assert.rejects(stage.backward("a", undefined, { accumulate: true }), /out of memory/);
  device.runsLeft = -1;
  await assert.rejects(stage.gradientSum(), /clear the gradients first/);
  assert.equal(device.bytesInUse(), before);
  await stage.clearGradients();
  await learn([stage], "a", { tokens, targets });
  await stage.gradientSum();
});

Deno.test("a device that fails in the middle of a step leaves a state that nobody takes for one", async () => {
  const device = new FailingDevice();
  const [stage] = await stagesOf(whole, device);
  const { manifest, bytes } = await stage.exportState();
  device.runsLeft = 3;
  const gradientSum = new Float32Array(stage.parameters).fill(1);
  const update = { gradientSum, scale: 1, learningRate: 0.1 };
  await assert.rejects(stage.apply(update), /out of memory/);
  device.runsLeft = -1;
  for (
    const attempt of [
      () => stage.exportState(),
      () => stage.describeState(),
      () => stage.apply(update),
      () => stage.forward("a", tokens, targets, { keep: false }),
      () => stage.gradientSum(),
    ]
  ) await assert.rejects(attempt, /applying step 1 failed; import a state first/);
  await stage.importState(manifest, bytes);
  assert.equal(stage.step, 0);
  assert.deepEqual(await stage.describeState(), manifest);
  await stage.apply(update);
  assert.equal(stage.step, 1);
});

Deno.test("a step moves parameters against the gradient and clears it", async () => {
  const [stage] = await stagesOf(whole);
  await learn([stage], "a", { tokens, targets });
  const before = await stage.forward("a", tokens, targets, { keep: false });
  const gradientSum = await stage.gradientSum();
  await stage.apply({ gradientSum, scale: 1 / 12, learningRate: 0.003 });
  assert.equal(stage.step, 1);
  assert.ok((await stage.gradientSum()).every((value) => value === 0));
  const after = await stage.forward("a", tokens, targets, { keep: false });
  assert.ok(before.kind === "loss" && after.kind === "loss" && after.lossSum < before.lossSum);
});

const zeroSum = (stage: Stage) => new Float32Array(stage.parameters);
const refusedUpdates: readonly [why: string, (stage: Stage) => Parameters<Stage["apply"]>[0], RegExp][] = [
  ["a short sum", () => ({ gradientSum: new Float32Array(3), scale: 1, learningRate: 1 }), /holds 3 values/],
  [
    "NaN",
    (s) => ({ gradientSum: zeroSum(s).fill(NaN, 4, 5), scale: 1, learningRate: 1 }),
    /value 4 of gradient/,
  ],
  [
    "an infinite scale",
    (s) => ({ gradientSum: zeroSum(s), scale: Infinity, learningRate: 1 }),
    /scale is Infinity/,
  ],
  ["a negative scale", (s) => ({ gradientSum: zeroSum(s), scale: -1, learningRate: 1 }), /scale is -1/],
  [
    "a rate of NaN",
    (s) => ({ gradientSum: zeroSum(s), scale: 1, learningRate: NaN }),
    /learning rate is NaN/,
  ],
];

for (const [why, update, message] of refusedUpdates) {
  Deno.test(`apply refuses ${why} and changes nothing`, async () => {
    const [stage] = await stagesOf(whole);
    const before = await stage.describeState();
    await assert.rejects(stage.apply(update(stage)), { name: "TypeError", message });
    assert.equal(stage.step, 0);
    assert.deepEqual((await stage.exportState()).manifest, before);
  });
}

Deno.test("a state that is exported and imported is the same to the bit, and goes on the same way", async () => {
  const stages = await stagesOf(pair);
  const others = await createStages(new ReferenceDevice(), pair);
  const advance = async (both: readonly Stage[]) => {
    await learn(both, "a", { tokens, targets });
    for (const stage of both) {
      await stage.apply({ gradientSum: await stage.gradientSum(), scale: 1 / 12, learningRate: 0.01 });
    }
  };
  await advance(stages);
  await advance(stages);
  for (const [index, stage] of stages.entries()) {
    const { manifest, bytes } = await stage.exportState();
    assert.equal(manifest.step, 2);
    await others[index].forward("kept", index === 0 ? tokens : hidden, index === 0 ? undefined : targets, {
      keep: true,
    });
    // Bytes need not be aligned: they come out of frames.
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    await others[index].importState(manifest, shifted.subarray(1));
    assert.equal(others[index].kept, 0);
    assert.equal(others[index].step, 2);
    assert.deepEqual(await others[index].exportState(), { manifest, bytes });
    assert.deepEqual(await others[index].describeState(), manifest);
  }
  await advance(stages);
  await advance(others);
  for (const [index, stage] of stages.entries()) {
    assert.deepEqual(await others[index].describeState(), await stage.describeState());
  }
});

Deno.test("a state that does not hold changes nothing", async () => {
  const stages = await stagesOf(pair);
  const { manifest, bytes } = await stages[1].exportState();
  const before = await stages[0].exportState();
  await assert.rejects(stages[0].importState(manifest, bytes), { name: "BadState" });
  const flipped = before.bytes.slice();
  flipped[100] ^= 1;
  await assert.rejects(stages[0].importState(before.manifest, flipped), { name: "BadState" });
  await assert.rejects(stages[0].importState(manifest, bytes), TypeError);
  assert.deepEqual(await stages[0].exportState(), before);
});

Deno.test("an exported state is a copy", async () => {
  const [stage] = await stagesOf(whole);
  const { manifest, bytes } = await stage.exportState();
  bytes.fill(0);
  assert.deepEqual((await stage.exportState()).manifest, manifest);
});

Deno.test("a closed stage says so", async () => {
  const [stage] = await stagesOf(whole);
  await stage.close();
  await assert.rejects(stage.forward("a", tokens, targets, { keep: false }), /stage 0 is closed/);
  await assert.rejects(stage.describeState(), /stage 0 is closed/);
});

Deno.test("a stage that the run does not have can't be created", async () => {
  const device = new ReferenceDevice();
  await assert.rejects(CompiledStage.create({ device, manifest: pair, index: 2 }), RangeError);
  assert.throws(() => sliceOf(pair, -1), RangeError);
  assert.equal(device.bytesInUse(), 0);
});

for (const { name, open } of DEVICES.filter(({ name }) => name !== "reference")) {
  Deno.test({
    name: `${name} agrees with the reference within 1e-4` + (open ? "" : " (skipped: device is absent)"),
    ignore: !open,
    async fn() {
      const device = await open!();
      const stages = await stagesOf(tinyManifest({ stages: 3 }), device);
      const truth = await stagesOf(tinyManifest({ stages: 3 }));
      const before = device.bytesInUse();
      for (const accumulate of [false, true]) {
        const found = await learn(stages, "a", { tokens, targets }, accumulate);
        const expected = await learn(truth, "a", { tokens, targets }, accumulate);
        assertNear([found.lossSum], [expected.lossSum], 1e-4, "loss");
        for (const index of [1, 2]) {
          assertNear(
            found.gradients[index]!.data,
            expected.gradients[index]!.data,
            1e-4,
            "gradient by the input",
          );
        }
      }
      const sums = await sumsOf(truth);
      assertNear(await sumsOf(stages), sums, 1e-4, "gradient sum");

      for (const [index, stage] of stages.entries()) {
        const update = { gradientSum: await truth[index].gradientSum(), scale: 1 / 12, learningRate: 0.01 };
        await stage.apply(update);
        await truth[index].apply(update);
        const [found, expected] = [await stage.exportState(), await truth[index].exportState()];
        const floats = (bytes: Uint8Array) => new Float32Array(bytes.slice(16).buffer);
        assertNear(floats(found.bytes), floats(expected.bytes), 1e-5, "state");
        assert.ok((await stage.gradientSum()).every((value) => value === 0));
      }
      assert.equal(device.bytesInUse(), before);
      for (const stage of stages) await stage.close();
      assert.equal(device.bytesInUse(), 0);
      await device.close();
    },
  });
}
