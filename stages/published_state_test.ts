import assert from "node:assert/strict";
import { type HostTensor, ReferenceDevice } from "../kernels/mod.ts";
import { type Manifest, parseManifest, partition, publishedModel, sliceOf } from "../run/mod.ts";

import { CompiledStage } from "./compiled_stage.ts";
import { stageLayout } from "./parameters.ts";
import { describePublishedState, publishedState, PublishedWeights } from "./published_state.ts";
import { randomTensor, tinyManifest } from "./testing/fixtures.ts";
import { brainFloatFile, memorySource, safetensorsFile } from "./testing/safetensors.ts";

/** Grouped queries, biases, norms of heads, and scaled positions at once. */
function richManifest(stages = 1): Manifest {
  const tiny = tinyManifest();
  return {
    ...tiny,
    stages,
    model: {
      ...tiny.model,
      heads: 4,
      keyValueHeads: 2,
      headWidth: 6,
      attentionBias: true,
      queryKeyNorm: true,
      ropeScaling: { kind: "linear", factor: 2 },
    },
  };
}

/** Random weights of the whole model, as its makers would publish them. */
function randomWeights(manifest: Manifest) {
  const { parameters } = stageLayout(manifest.model, sliceOf({ ...manifest, stages: 1 }, 0));
  return parameters.map(({ name, shape }, index) => ({
    name,
    shape,
    data: randomTensor(index, ...shape).data as Float32Array,
  }));
}

/** Logits of the last position, through as many stages as the manifest says. */
async function logitsOf(
  manifest: Manifest,
  weights: PublishedWeights,
  ids: readonly number[],
): Promise<Float32Array> {
  let tensor: HostTensor = { dataType: "i32", shape: [1, ids.length], data: Int32Array.from(ids) };
  for (const { index } of partition(manifest)) {
    const device = new ReferenceDevice();
    const stage = await CompiledStage.create({ device, manifest, index });
    const state = await publishedState(stage.layout, weights);
    await stage.importState(state.manifest, state.bytes);
    const result = await stage.forward("it", tensor, undefined, { keep: false });
    await stage.close();
    await device.close();
    if (result.kind === "logits") return result.logits.data as Float32Array;
    assert.ok(result.kind === "activation");
    tensor = result.activation;
  }
  throw new Error("no logits");
}

Deno.test("a model that is cut answers as the whole one does, from one file or several", async () => {
  const tensors = randomWeights(richManifest());
  const ids = [3, 1, 4, 1, 5];
  const whole = await PublishedWeights.open([memorySource(safetensorsFile(tensors))]);
  const parts = await PublishedWeights.open([
    memorySource(safetensorsFile(tensors.slice(5))),
    memorySource(safetensorsFile(tensors.slice(0, 5))),
  ]);
  const expected = await logitsOf(richManifest(1), whole, ids);
  assert.deepEqual(await logitsOf(richManifest(3), parts, ids), expected);
});

Deno.test("biases, norms of heads and scaled positions each change the answer", async () => {
  const manifest = richManifest();
  const weights = await PublishedWeights.open([memorySource(safetensorsFile(randomWeights(manifest)))]);
  const full = await logitsOf(manifest, weights, [3, 1, 4]);
  for (
    const change of [
      { attentionBias: false },
      { queryKeyNorm: false },
      { ropeScaling: { kind: "none" } },
    ] as const
  ) {
    const without = await logitsOf({ ...manifest, model: { ...manifest.model, ...change } }, weights, [
      3,
      1,
      4,
    ]);
    assert.notDeepEqual(without, full, JSON.stringify(change));
  }
});

Deno.test("a tied head is the embedding, also in half-width files", async () => {
  const manifest = tinyManifest();
  const tensors = randomWeights(manifest).filter(({ name }) => name !== "lm_head.weight");
  const weights = await PublishedWeights.open([memorySource(brainFloatFile(tensors))]);
  const shape = [manifest.model.vocabulary, manifest.model.width];
  const read = async (name: string) =>
    (await Array.fromAsync(weights.parts({ name, shape }))).flatMap((part) => [...part]);
  const head = await read("lm_head.weight");
  assert.deepEqual(head, await read("model.embed_tokens.weight"));
  const exact = tensors.find(({ name }) => name === "model.embed_tokens.weight")!.data;
  head.forEach((value, i) => assert.ok(Math.abs(value - exact[i]) <= Math.abs(exact[i]) * 2 ** -7));
  assert.equal((await logitsOf(manifest, weights, [1, 2])).length, manifest.model.vocabulary);
});

Deno.test("a head has to be there or not as the configuration says, and to be the embedding if it is tied", async () => {
  const manifest = tinyManifest();
  const shape = [manifest.model.vocabulary, manifest.model.width];
  const tensors = randomWeights(manifest);
  const check = async (tied: boolean, changed: typeof tensors) =>
    await (await PublishedWeights.open([memorySource(safetensorsFile(changed))])).checkHead(tied, shape);
  const embedding = tensors[0].data;
  const twice = tensors.map((it) => it.name === "lm_head.weight" ? { ...it, data: embedding } : it);
  await check(false, tensors);
  await check(true, tensors.filter(({ name }) => name !== "lm_head.weight"));
  await check(true, twice);
  await assert.rejects(check(true, tensors), /is true, but lm_head\.weight is not model\.embed_tokens/);
  await assert.rejects(
    check(false, tensors.filter(({ name }) => name !== "lm_head.weight")),
    /is false, but there is no lm_head\.weight/,
  );
});

Deno.test("a state is described without being held, and every byte of it is told of", async () => {
  const manifest = tinyManifest();
  const weights = await PublishedWeights.open([memorySource(safetensorsFile(randomWeights(manifest)))]);
  const layout = stageLayout(manifest.model, sliceOf(manifest, 0));
  let told = 0;
  const described = await describePublishedState(layout, weights, (count) => told += count);
  const { manifest: whole, bytes } = await publishedState(layout, weights);
  assert.deepEqual(described, whole);
  assert.equal(told, bytes.length);
});

Deno.test("weights that do not fit are refused by their names", async () => {
  const manifest = tinyManifest();
  const tensors = randomWeights(manifest);
  const refused = async (changed: typeof tensors, message: RegExp) => {
    const opened = PublishedWeights.open([memorySource(safetensorsFile(changed))]);
    const state = opened.then((weights) =>
      publishedState(stageLayout(manifest.model, sliceOf(manifest, 0)), weights)
    );
    await assert.rejects(state, { name: "TypeError", message });
  };
  await refused(tensors.slice(1), /there is no model\.embed_tokens\.weight/);
  const [embedding, ...others] = tensors;
  await refused(
    [{ ...embedding, shape: [...embedding.shape].reverse() }, ...others],
    /has shape \[12, 13\], expected \[13, 12\]/,
  );
  const data = embedding.data.slice();
  data[7] = NaN;
  await refused([{ ...embedding, data }, ...others], /value 7 of model\.embed_tokens\.weight is NaN/);
  const twice = [memorySource(safetensorsFile(tensors)), memorySource(safetensorsFile(tensors.slice(-1)))];
  await assert.rejects(PublishedWeights.open(twice), /lm_head\.weight is there twice/);
});

const FOLDER = new URL("../../shared/models/aidreams-260k/", import.meta.url);
const file = (name: string) => Deno.readFile(new URL(name, FOLDER)).catch(() => undefined);
const published = await file("model.safetensors");

Deno.test({
  name: "a published model decodes the ids that another implementation decodes" +
    (published ? "" : " (its files are not here)"),
  ignore: published === undefined,
  async fn() {
    const read = async (name: string) => new TextDecoder().decode(await file(name));
    const { model, sequenceLength } = publishedModel(await read("config.json"));
    const manifest = parseManifest(JSON.stringify({
      version: 1,
      name: "published",
      model,
      stages: 2,
      sequenceLength,
      sequencesPerMicroBatch: 1,
      microBatchesPerStep: 1,
      steps: 1,
      tokenizer: { kind: "huggingface", file: "tokenizer.json", sha256: "0".repeat(64) },
    }));
    const weights = await PublishedWeights.open([memorySource(published!)]);
    const { prompt_ids, ids } = JSON.parse(await read("greedy.json"));
    const known = [...prompt_ids];
    for (const id of ids.slice(0, 12)) {
      const logits = await logitsOf(manifest, weights, known);
      assert.equal(logits.indexOf(Math.max(...logits)), id, `token ${known.length}`);
      known.push(id);
    }
  },
});
