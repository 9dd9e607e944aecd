import assert from "node:assert/strict";
import fc from "fast-check";
import type { Device, HostTensor } from "../kernels/mod.ts";
import { ReferenceDevice } from "../kernels/reference/device.ts";
import { DEVICES } from "../kernels/testing/devices.ts";
import { randomFrom } from "../kernels/testing/random.ts";
import { type DrawnToken, GREEDY, type Manifest, partition, sliceOf } from "../run/mod.ts";
import { BLOCK_TOKENS } from "./cache_blocks.ts";
import { CompiledStage } from "./compiled_stage.ts";
import { stageLayout } from "./parameters.ts";
import { publishedState, PublishedWeights } from "./published_state.ts";
import { CacheFull, type Continued, type Draw } from "./sessions.ts";
import { createStages } from "./solo.ts";
import { continueSolo, extendSolo } from "./solo_sessions.ts";
import { FailingDevice } from "./testing/failing_device.ts";
import { LateDevice } from "./testing/late_device.ts";
import { logSoftmax, plainLogits, type Weights } from "./testing/plain_decoder.ts";
import { brainFloatFile, memorySource } from "./testing/safetensors.ts";
import { randomTensor, scatter, stateOf, tensorsOf, tinyDataset, tinyManifest } from "./testing/fixtures.ts";

/** Longer than two blocks, and no multiple of one. */
const LENGTH = 75;
const tiny = tinyManifest();
const { vocabulary, width } = tiny.model;
/** Grouped queries, biases, norms of heads, and scaled positions at once. */
const RICH = {
  heads: 4,
  keyValueHeads: 2,
  headWidth: 6,
  attentionBias: true,
  queryKeyNorm: true,
  ropeScaling: { kind: "linear", factor: 2 },
} as const;
const richManifest = (stages = 1): Manifest => ({
  ...tiny,
  stages,
  sequenceLength: LENGTH,
  model: { ...tiny.model, layers: 4, ...RICH },
});
const plainManifest = (stages = 1): Manifest => ({ ...tiny, stages, sequenceLength: LENGTH });

/** Every token's log-probability is told. */
const ALL: Draw = {
  sampling: { ...GREEDY, topLogProbabilities: vocabulary },
  uniform: 0,
  text: new Int32Array(),
  promptTokens: 0,
};
const TOLERANCE = 1e-4;

async function stagesOf(manifest: Manifest, device: Device): Promise<CompiledStage[]> {
  const stages = await createStages(device, manifest);
  for (const stage of stages) await scatter(stage);
  return stages;
}

async function stageWith(
  { manifest = plainManifest(), device = new ReferenceDevice(), index = 0, blocks = 100 }: {
    readonly manifest?: Manifest;
    readonly device?: Device;
    readonly index?: number;
    readonly blocks?: number;
  },
): Promise<CompiledStage> {
  const { firstLayer, endLayer } = sliceOf(manifest, index);
  const { keyValueHeads, headWidth } = manifest.model;
  const tokenBytes = (endLayer - firstLayer) * 2 * keyValueHeads * headWidth * 4;
  const cacheBytes = blocks * BLOCK_TOKENS * tokenBytes;
  const stage = await CompiledStage.create({ device, manifest, index, cacheBytes });
  await scatter(stage);
  return stage;
}

function textOf(seed: number, length: number): number[] {
  const random = randomFrom(seed);
  return Array.from({ length }, () => Math.floor(random() * vocabulary));
}

const tokensOf = (...texts: (readonly number[])[]): HostTensor => ({
  dataType: "i32",
  shape: [texts.length, texts[0].length],
  data: Int32Array.from(texts.flat()),
});

/** Continues texts by as many tokens each. */
async function feed(
  stages: readonly CompiledStage[],
  parts: readonly { readonly key: string; readonly position: number; readonly tokens: readonly number[] }[],
): Promise<DrawnToken[]> {
  const drawn = await extendSolo(stages, {
    sequences: parts.map(({ key, position }) => ({ key, position, draw: ALL })),
    input: tokensOf(...parts.map(({ tokens }) => tokens)),
  });
  return drawn as DrawnToken[];
}

/** Logarithms of probabilities in the order of the tokens. */
function byToken({ top }: DrawnToken): number[] {
  return top.toSorted((a, b) => a.token - b.token).map(({ logProbability }) => logProbability);
}

/** What the bare forward pass thinks of the token after a text. */
async function bare(stages: readonly CompiledStage[], text: readonly number[]): Promise<number[]> {
  let input = tokensOf(text);
  for (const stage of stages) {
    const result = await stage.forward("bare", input, undefined, { keep: false });
    if (result.kind === "activation") input = result.activation;
    if (result.kind === "logits") return logSoftmax([...result.logits.data]);
  }
  throw new Error("no logits");
}

function assertNear(actual: readonly number[], expected: readonly number[], what: string): void {
  assert.equal(actual.length, expected.length, what);
  actual.forEach((value, i) =>
    assert.ok(Math.abs(value - expected[i]) < TOLERANCE, `${what}, ${i}: ${value} is not ${expected[i]}`)
  );
}

for (const { name, open } of DEVICES) {
  Deno.test({
    name: `${name}: in chunks, token by token and among others, a text gets the logits of the bare pass`,
    ignore: open === undefined,
    async fn() {
      const truth = await stagesOf(richManifest(2), new ReferenceDevice());
      const device = await open!();
      const stages = await stagesOf(richManifest(2), device);
      const texts = { a: textOf(1, LENGTH), b: textOf(2, 40), c: textOf(3, 33) };
      const go = async (...parts: [key: keyof typeof texts, position: number, end: number][]) => {
        const drawn = await feed(
          stages,
          parts.map(([key, position, end]) => ({ key, position, tokens: texts[key].slice(position, end) })),
        );
        for (const [place, [key, , end]] of parts.entries()) {
          const expected = await bare(truth, texts[key].slice(0, end));
          assertNear(byToken(drawn[place]), expected, `${key} after ${end}`);
          assert.equal(drawn[place].token, expected.indexOf(Math.max(...expected)));
        }
      };
      await go(["a", 0, 31]);
      await go(["a", 31, 74]);
      await go(["a", 74, 75]);
      await go(["b", 0, 30], ["c", 0, 30]);
      for (let token = 30; token < 33; token++) {
        await go(["b", token, token + 1], ["a", token + 20, token + 21], ["c", token, token + 1]);
      }
      assert.equal(stages[0].sessions.count, 3);
      for (const stage of stages) await stage.close();
      assert.equal(device.bytesInUse(), 0);
      await device.close();
    },
  });

  Deno.test({
    name: `${name}: a session that outgrows its numbers ends alone, and leaves nothing behind`,
    ignore: open === undefined,
    async fn() {
      const manifest: Manifest = { ...tiny, model: { ...tiny.model, layers: 1 } };
      const { heads, headWidth } = manifest.model;
      const device = await open!();
      const stage = await CompiledStage.create({ device, manifest, index: 0 });
      // The first number of a value is 0, but outgrows f32 for one token; nobody reads it.
      const state = stateOf(stage.layout, 0, ({ name, shape, size }) => {
        const data = randomTensor(name.length, ...shape).data as Float32Array;
        const clear = (place: (row: number) => number, rows: number) => {
          for (let row = 0; row < rows; row++) data[place(row)] = 0;
        };
        if (name.endsWith("layernorm.weight")) data.fill(1);
        if (name.endsWith("embed_tokens.weight")) {
          clear((token) => token * width, vocabulary - 1);
          data.fill(0, size - width).fill(1, size - width, size - width + 1);
        }
        if (name.endsWith("v_proj.weight")) data.fill(0, 0, width).fill(3e38, 0, 1);
        if (name.endsWith("o_proj.weight")) {
          for (let head = 0; head < heads; head++) {
            clear((row) => row * heads * headWidth + head * headWidth, width);
          }
        }
        return data;
      });
      await stage.importState(state.manifest, state.bytes);
      const good = [{ key: "a", position: 0, tokens: [1, 2] }];
      await feed([stage], good);
      const bad = [{ key: "b", position: 0, tokens: [1, vocabulary - 1] }];
      await assert.rejects(feed([stage], bad), RangeError);
      assert.equal(stage.sessions.count, 1);
      const [c] = await feed([stage], [{ key: "c", position: 0, tokens: [3] }]);
      assertNear(byToken(c), await bare([stage], [3]), "c, in the room of b");
      const both = await feed(
        [stage],
        [{ key: "c", position: 1, tokens: [4] }, { key: "a", position: 2, tokens: [4] }],
      );
      assertNear(byToken(both[0]), await bare([stage], [3, 4]), "c");
      assertNear(byToken(both[1]), await bare([stage], [1, 2, 4]), "a");
      await stage.close();
      await device.close();
    },
  });
}

Deno.test("however a model is cut, sessions draw the same tokens, and those of the bare pass", async () => {
  const prompt = [3, 1, 4, 1, 5];
  const device = new ReferenceDevice();
  const [whole] = await stagesOf(richManifest(1), device);
  const expected = [...prompt];
  while (expected.length < LENGTH + 1) {
    const known = await bare([whole], expected);
    expected.push(known.indexOf(Math.max(...known)));
  }
  for (const cut of [1, 2, 4]) {
    const stages = await stagesOf(richManifest(cut), device);
    const found = [...prompt];
    const wish = { key: "it", prompt: Int32Array.from(prompt), tokens: 71, sampling: GREEDY };
    for await (const { token } of continueSolo({ stages, ...wish })) found.push(token);
    assert.deepEqual(found, expected, `${cut} stages`);
    assert.deepEqual(stages.map(({ sessions }) => sessions.count), stages.map(() => 0));
  }
});

Deno.test("seeded draws depend on the text and the seed, not on who else is there", async () => {
  const stages = await stagesOf(plainManifest(), new ReferenceDevice());
  const draw = async (key: string, seed: number) => {
    const sampling = { ...GREEDY, temperature: 1.5, seed, presencePenalty: 0.3, repetitionPenalty: 1.1 };
    const text: number[] = [];
    const wish = { key, prompt: Int32Array.of(1), tokens: 70, sampling };
    for await (const { token } of continueSolo({ stages, ...wish })) text.push(token);
    return text;
  };
  const alone = await draw("a", 5);
  const [first, second, other] = await Promise.all([draw("b", 5), draw("c", 5), draw("d", 6)]);
  assert.deepEqual(first, alone);
  assert.deepEqual(second, alone);
  assert.notDeepEqual(other, alone);
});

Deno.test("weights of half width with a tied head give what plain loops give", async () => {
  const manifest: Manifest = { ...richManifest(2), sequenceLength: 12 };
  const { parameters } = stageLayout(manifest.model, sliceOf({ ...manifest, stages: 1 }, 0));
  const tensors = parameters.filter(({ name }) => name !== "lm_head.weight").map(({ name, shape }, seed) => ({
    name,
    shape,
    data: randomTensor(seed, ...shape).data as Float32Array,
  }));
  const shards = [tensors.slice(0, 20), tensors.slice(20)].map((part) => memorySource(brainFloatFile(part)));
  const published = await PublishedWeights.open(shards);
  const weights: Weights = new Map(tensors.map(({ name, data }) => [name, upperHalves(data)]));

  const device = new ReferenceDevice();
  const stages = [];
  for (const { index } of partition(manifest)) {
    const stage = await CompiledStage.create({ device, manifest, index });
    const state = await publishedState(stage.layout, published);
    await stage.importState(state.manifest, state.bytes);
    stages.push(stage);
  }
  const text = textOf(9, 12);
  const expected = plainLogits(manifest.model, weights, text).map(logSoftmax);
  for (const [position, end] of [[0, 5], [5, 6], [6, 12]]) {
    const [drawn] = await feed(stages, [{ key: "a", position, tokens: text.slice(position, end) }]);
    assertNear(byToken(drawn), expected[end - 1], `after ${end}`);
    assertNear(await bare(stages, text.slice(0, end)), expected[end - 1], `bare, after ${end}`);
  }
});

/** What BF16 keeps of a number. */
function upperHalves(data: Float32Array): Float32Array {
  return new Float32Array(new Uint32Array(data.slice().buffer).map((word) => word & 0xffff_0000).buffer);
}

Deno.test("a text that is cut off and goes on otherwise forgets what was there", async () => {
  const stages = await stagesOf(plainManifest(), new ReferenceDevice());
  const [one, other] = [textOf(1, 60), textOf(2, 60)];
  await feed(stages, [{ key: "a", position: 0, tokens: one }]);
  const mixed = [...one.slice(0, 20), ...other.slice(20)];
  const [drawn] = await feed(stages, [{ key: "a", position: 20, tokens: mixed.slice(20) }]);
  assertNear(byToken(drawn), await bare(stages, mixed), "cut off");
  await assert.rejects(feed(stages, [{ key: "a", position: 61, tokens: [1] }]), {
    name: "TypeError",
    message: "Cannot continue session a at position 61: 60 tokens are kept",
  });
  const [anew] = await feed(stages, [{ key: "a", position: 0, tokens: [4] }]);
  assertNear(byToken(anew), await bare(stages, [4]), "anew");
  await assert.rejects(feed(stages, [{ key: "a", position: 2, tokens: [1] }]), TypeError);
});

Deno.test("a full cache says so and changes nothing; an end makes room", async () => {
  const stage = await stageWith({ blocks: 3 });
  const { sessions } = stage;
  assert.equal(sessions.capacityTokens, 3 * BLOCK_TOKENS);
  const a = textOf(1, 40);
  await feed([stage], [{ key: "a", position: 0, tokens: a }]);
  assert.equal(sessions.roomTokens, BLOCK_TOKENS);
  const b = { key: "b", position: 0, tokens: a.slice(0, 33) };
  await assert.rejects(feed([stage], [b]), CacheFull);
  // Of two in one run neither is continued if one finds no room.
  await assert.rejects(
    feed([stage], [{ key: "a", position: 10, tokens: b.tokens }, b]),
    CacheFull,
  );
  assert.deepEqual([sessions.count, sessions.roomTokens], [1, BLOCK_TOKENS]);
  const [drawn] = await feed([stage], [{ key: "a", position: 40, tokens: [7] }]);
  assertNear(byToken(drawn), await bare([stage], [...a, 7]), "a goes on");
  sessions.end("a");
  sessions.end("nobody");
  await feed([stage], [b]);
  assert.deepEqual([sessions.count, sessions.roomTokens], [1, BLOCK_TOKENS]);
});

Deno.test("pools grow with what is kept, and keep it", async () => {
  const device = new ReferenceDevice();
  const stage = await stageWith({ device });
  const before = device.bytesInUse();
  const texts = Array.from({ length: 12 }, (_, seed) => textOf(seed, 64));
  await feed([stage], [{ key: "0", position: 0, tokens: texts[0] }]);
  const first = device.bytesInUse() - before;
  await feed([stage], texts.map((tokens, key) => ({ key: `${key}`, position: 0, tokens })));
  assert.ok(device.bytesInUse() - before > first);
  const all = await feed([stage], texts.map((_, key) => ({ key: `${key}`, position: 64, tokens: [5] })));
  for (const [key, drawn] of all.entries()) {
    assertNear(byToken(drawn), await bare([stage], [...texts[key], 5]), `session ${key}`);
  }
  await stage.close();
  assert.equal(device.bytesInUse(), 0);
});

Deno.test("without a wish nothing is drawn, and the head costs nothing", async () => {
  const stage = await stageWith({});
  const sequences: Continued[] = [{ key: "a", position: 0 }, { key: "b", position: 0, draw: ALL }];
  const input = tokensOf([1, 2, 3], [4, 5, 6]);
  const some = await stage.sessions.extend({ sequences, input });
  assert.ok(some.kind === "drawn");
  assert.equal(some.drawn[0], undefined);
  assertNear(byToken(some.drawn[1]!), await bare([stage], [4, 5, 6]), "b");
  const none = await stage.sessions.extend({
    sequences: [{ key: "a", position: 3 }],
    input: tokensOf([7]),
  });
  assert.deepEqual(none, { kind: "drawn", drawn: [undefined] });
  const [drawn] = await feed([stage], [{ key: "a", position: 4, tokens: [8] }]);
  assertNear(byToken(drawn), await bare([stage], [1, 2, 3, 7, 8]), "a");
});

Deno.test("what does not fit is refused, and changes nothing", async () => {
  const first = await stageWith({ manifest: plainManifest(2) });
  const last = await stageWith({ manifest: plainManifest(2), index: 1 });
  const tokens = tokensOf([1, 2]);
  const a: Continued = { key: "a", position: 0 };
  const hidden = randomTensor(1, 1, 2, width);
  const spoilt = randomTensor(1, 1, 2, width);
  spoilt.data[3] = NaN;
  const refused = async (stage: CompiledStage, sequences: Continued[], input: HostTensor, why: RegExp) => {
    await assert.rejects(stage.sessions.extend({ sequences, input }), { name: "TypeError", message: why });
    assert.equal(stage.sessions.count, 0);
  };
  await refused(first, [], tokens, /input is \[1, 2\]/);
  await refused(first, [a, { ...a, key: "b" }], tokens, /Cannot continue 2 sessions: input is \[1, 2\]/);
  await refused(first, [a], { ...tokens, shape: [1] }, /input is \[1\]/);
  await refused(first, [a], { ...tokens, shape: [1, 3] }, /input holds 2 values, expected 3/);
  await refused(first, [a], hidden, /input is f32, expected i32/);
  await refused(first, [a], tokensOf([1, vocabulary]), /token 1 is 13/);
  await refused(first, [a, a], tokensOf([1], [2]), /session a: it is named twice/);
  await refused(first, [{ ...a, position: 1 }], tokens, /0 tokens are kept/);
  await refused(first, [{ ...a, draw: ALL }], tokens, /only the last stage draws/);
  for (const position of [-1, 0.5, NaN, LENGTH - 1]) {
    await refused(first, [{ ...a, position }], tokens, /the run's sequences have 75/);
  }
  await refused(first, [a], tokensOf(textOf(1, LENGTH + 1)), /the run's sequences have 75/);
  await refused(last, [a], tokens, /input is i32, expected f32/);
  await refused(last, [a], randomTensor(1, 1, 2, width + 1), /expected \[1, 2, 12\]/);
  await refused(last, [a], spoilt, /value 3 of input is NaN/);
  for (const uniform of [1, -0.1, NaN]) {
    await refused(last, [{ ...a, draw: { ...ALL, uniform } }], hidden, /the draw is/);
  }
  await first.close();
  await refused(first, [a], tokens, /stage 0 is closed/);
});

Deno.test("a run that fails ends its sessions, and no others", async () => {
  const device = new FailingDevice();
  const stage = await stageWith({ device });
  await feed([stage], [{ key: "a", position: 0, tokens: [1] }, { key: "b", position: 0, tokens: [2] }]);
  device.runsLeft = 0;
  await assert.rejects(feed([stage], [{ key: "a", position: 1, tokens: [3] }]), /out of memory/);
  device.runsLeft = -1;
  assert.equal(stage.sessions.count, 1);
  await assert.rejects(feed([stage], [{ key: "a", position: 1, tokens: [3] }]), TypeError);
  const [drawn] = await feed([stage], [{ key: "b", position: 1, tokens: [3] }]);
  assertNear(byToken(drawn), await bare([stage], [2, 3]), "b");
});

Deno.test("the next run is computed before the last one's results are here, and each ends its own", async () => {
  const device = new LateDevice();
  const stage = await stageWith({ device });
  const runs = device.runs;
  device.hold();
  device.spoilsNext = true;
  const spoilt = feed([stage], [{ key: "a", position: 0, tokens: [1] }]);
  const good = feed([stage], [{ key: "b", position: 0, tokens: [2] }]);
  spoilt.catch(() => {});
  const anew = feed([stage], [{ key: "c", position: 0, tokens: [2] }]);
  const restarted = feed([stage], [{ key: "c", position: 0, tokens: [2, 3] }]);
  const ended = stage.exportState().then(() => stage.sessions.count);
  while (device.downloads < 4) await Promise.resolve();
  assert.equal(device.runs, runs + 4);
  stage.sessions.end("b"); // waits for its turn, behind the state
  device.arrive();
  await assert.rejects(spoilt, RangeError);
  await Promise.all([good, anew, restarted]);
  assert.equal(await ended, 2, "b and c, as a has ended by itself");
  await stage.describeState();
  assert.equal(stage.sessions.count, 1);
});

Deno.test("a step leaves sessions as they are; a state that is imported ends them all", async () => {
  const stage = await stageWith({});
  const { tokens, targets } = tensorsOf(tiny, tinyDataset(tiny).microBatch(0, 0));
  await feed([stage], [{ key: "a", position: 0, tokens: textOf(1, 20) }]);
  await stage.forward("m", tokens, targets, { keep: true });
  await stage.backward("m", undefined, { accumulate: true });
  await stage.apply({ gradientSum: await stage.gradientSum(), scale: 0.1, learningRate: 0.01 });
  const before = await bare([stage], textOf(1, 21));
  const [drawn] = await feed([stage], [{ key: "a", position: 20, tokens: textOf(1, 21).slice(20) }]);
  assert.notDeepEqual(byToken(drawn), before, "the past is of the old weights");
  const { manifest, bytes } = await stage.exportState();
  await stage.importState(manifest, bytes);
  assert.deepEqual([stage.sessions.count, stage.sessions.roomTokens], [0, stage.sessions.capacityTokens]);
});

Deno.test("whatever is called in whatever order, room and count are right and nothing is leaked", async () => {
  const { tokens, targets } = tensorsOf(tiny, tinyDataset(tiny).microBatch(0, 0));
  const device = new ReferenceDevice();
  const stage = await stageWith({ device, blocks: 4 });
  const state = await stage.exportState();
  // Pools are as large as they get.
  await feed([stage], ["a", "b"].map((key) => ({ key, position: 0, tokens: textOf(0, 64) })));
  const bytes = device.bytesInUse();
  const key = fc.constantFrom("a", "b", "c");
  const call = fc.oneof(
    { weight: 4, arbitrary: fc.record({ extend: fc.uniqueArray(key, { minLength: 1 }), by: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.record({ back: key, by: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ end: key }) },
    { weight: 1, arbitrary: fc.constantFrom("forward", "backward", "apply", "import", "release") },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(call, { maxLength: 15 }), fc.boolean(), async (calls, waits) => {
      await stage.importState(state.manifest, state.bytes);
      stage.release("m");
      const lengths = new Map<string, number>();
      let kept = 0;
      const done: Promise<unknown>[] = [];
      for (const call of calls) {
        const extend = (keys: readonly string[], by: number, back: number) => {
          const positions = keys.map((key) => Math.max(0, (lengths.get(key) ?? 0) - back));
          const after = new Map(lengths);
          keys.forEach((key, place) => after.set(key, positions[place] + by));
          const blocks = [...after.values()].reduce(
            (sum, length) => sum + Math.ceil(length / BLOCK_TOKENS),
            0,
          );
          const tooLong = positions.some((position) => position + by > LENGTH);
          const fits = blocks <= 4 && by > 0 && !tooLong;
          const parts = keys.map((key, place) => ({
            key,
            position: positions[place],
            tokens: textOf(by, by),
          }));
          if (fits) keys.forEach((key) => lengths.set(key, after.get(key)!));
          done.push(fits ? feed([stage], parts) : assert.rejects(feed([stage], parts), /Cannot continue/));
        };
        if (typeof call === "object") {
          if ("extend" in call) extend(call.extend, call.by, 0);
          else if ("back" in call) extend([call.back], call.by, call.by + 1);
          else {
            stage.sessions.end(call.end);
            lengths.delete(call.end);
          }
        } else if (call === "forward") {
          if (kept++ === 0) done.push(stage.forward("m", tokens, targets, { keep: true }));
        } else if (call === "backward" || call === "release") {
          if (kept > 0 && call === "backward") {
            done.push(stage.backward("m", undefined, { accumulate: true }));
          }
          if (call === "release") stage.release("m");
          kept = 0;
        } else if (call === "apply") {
          const gradientSum = new Float32Array(stage.parameters);
          done.push(stage.apply({ gradientSum, scale: 1, learningRate: 0.01 }));
        } else {
          done.push(stage.importState(state.manifest, state.bytes));
          lengths.clear();
          kept = 0;
        }
        if (waits) await Promise.all(done);
      }
      await Promise.all(done);
      stage.release("m");
      await stage.describeState(); // everything has had its turn
      const blocks = [...lengths.values()].reduce((sum, length) => sum + Math.ceil(length / BLOCK_TOKENS), 0);
      assert.equal(stage.sessions.count, lengths.size);
      assert.equal(stage.sessions.roomTokens, (4 - blocks) * BLOCK_TOKENS);
      assert.equal(device.bytesInUse(), bytes);
    }),
    { numRuns: 60 },
  );
  await stage.close();
  assert.equal(device.bytesInUse(), 0);
});
