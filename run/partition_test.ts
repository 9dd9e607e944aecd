import assert from "node:assert/strict";
import fc from "fast-check";
import { parseManifest } from "./manifest.ts";
import { partition, type PartitionSource, sliceOf, stageFlopsPerToken } from "./partition.ts";

function source(layers: number, stages: number | number[], vocabulary = 256): PartitionSource {
  return parseManifest(JSON.stringify({
    version: 1,
    name: "cut",
    model: { vocabulary, width: 64, layers, heads: 4 },
    stages,
    sequenceLength: 64,
    sequencesPerMicroBatch: 1,
    microBatchesPerStep: 1,
    steps: 1,
  }));
}

const layersOf = (from: PartitionSource) => partition(from).map((slice) => slice.endLayer - slice.firstLayer);

Deno.test("partition gives one stage everything", () => {
  assert.deepEqual(partition(source(3, 1)), [
    { index: 0, count: 1, firstLayer: 0, endLayer: 3, embedding: true, head: true },
  ]);
});

Deno.test("partition cuts where the manifest says", () => {
  assert.deepEqual(partition(source(8, [1, 6])), [
    { index: 0, count: 3, firstLayer: 0, endLayer: 1, embedding: true, head: false },
    { index: 1, count: 3, firstLayer: 1, endLayer: 6, embedding: false, head: false },
    { index: 2, count: 3, firstLayer: 6, endLayer: 8, embedding: false, head: true },
  ]);
});

Deno.test("partition shares layers evenly where the head is cheap", () => {
  assert.deepEqual(layersOf(source(8, 2)), [4, 4]);
  assert.deepEqual(layersOf(source(8, 4)), [2, 2, 2, 2]);
  assert.deepEqual(layersOf(source(9, 4)), [3, 2, 2, 2]);
});

Deno.test("partition spares the last stage where the head is dear", () => {
  assert.deepEqual(layersOf(source(12, 4, 2048)), [4, 4, 3, 1]);
});

Deno.test("partition covers every layer once, and no cut is cheaper", () => {
  const arbitrary = fc.integer({ min: 1, max: 9 }).chain((layers) =>
    fc.record({
      layers: fc.constant(layers),
      stages: fc.integer({ min: 1, max: layers }),
      vocabulary: fc.constantFrom(256, 1000, 4000, 50_000),
    })
  );
  fc.assert(fc.property(arbitrary, ({ layers, stages, vocabulary }) => {
    const from = source(layers, stages, vocabulary);
    const slices = partition(from);
    assert.equal(slices.length, stages);
    let layer = 0;
    for (const [index, slice] of slices.entries()) {
      assert.equal(slice.index, index);
      assert.equal(slice.firstLayer, layer);
      assert.ok(slice.endLayer > layer);
      assert.equal(slice.embedding, index === 0);
      assert.equal(slice.head, index === stages - 1);
      layer = slice.endLayer;
    }
    assert.equal(layer, layers);
    assert.equal(dearest(from), Math.min(...allCuts(layers, stages).map((cuts) => dearest(from, cuts))));
  }));
});

Deno.test("sliceOf refuses stages that the model does not have", () => {
  assert.throws(() => sliceOf(source(4, 2), 2), {
    name: "RangeError",
    message: "Cannot take stage 2: the model has 2",
  });
});

Deno.test("partition refuses what no manifest would say", () => {
  assert.throws(() => partition({ ...source(2, 1), stages: 3 }), RangeError);
  assert.throws(() => partition({ ...source(2, 1), stages: [2] }), RangeError);
  assert.throws(() => partition({ ...source(4, 1), stages: [2, 1] }), RangeError);
});

/** Cost of the most expensive stage. */
function dearest(from: PartitionSource, cuts?: readonly number[]): number {
  const cut = cuts && cuts.length > 0 ? { ...from, stages: cuts } : from;
  return Math.max(...partition(cut).map((slice) => stageFlopsPerToken(cut, slice)));
}

/** Every way to cut. */
function allCuts(layers: number, stages: number, after = 0): number[][] {
  if (stages === 1) return [[]];
  const ways: number[][] = [];
  for (let cut = after + 1; cut <= layers - stages + 1; cut++) {
    for (const rest of allCuts(layers, stages - 1, cut)) ways.push([cut, ...rest]);
  }
  return ways;
}
