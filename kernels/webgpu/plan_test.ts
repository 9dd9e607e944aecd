import assert from "node:assert/strict";
import { bind } from "../bind.ts";
import { type Graph, GraphBuilder } from "../graph.ts";
import { narrowValues, shadowedInputs } from "./narrow.ts";
import { type Plan, planGraph } from "./plan.ts";
import type { WgslLimits } from "./writer.ts";

const LIMITS: WgslLimits = {
  f16: true,
  workgroupStorageBytes: 16_384,
  workgroupInvocations: 256,
  workgroupsPerDimension: 65_535,
  software: false,
};

/** The plan of a graph over vectors of `N` elements. */
function planOf(graph: Graph, size: number, halves = false, limits = LIMITS): Plan {
  const inputs = graph.inputs.map((value) => {
    const shape = value.shape.map((dimension) => typeof dimension === "number" ? dimension : size);
    return [value, { dataType: value.dataType, shape, data: new Float32Array(0) }] as const;
  });
  return planGraph(graph, {
    shapes: bind(graph, new Map(inputs)),
    inputs: graph.inputs.map(() => "f32"),
    limits,
    ...(halves && { narrow: narrowValues(graph), shadowed: shadowedInputs(graph) }),
  });
}

Deno.test("values that nobody reads any more make room for the next", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  let sum = x;
  for (let i = 0; i < 20; i++) [sum] = builder.op("add", [sum, x]);
  builder.output("sum", sum);
  const plan = planOf(builder.build(), 100);
  assert.equal(plan.steps.length, 20);
  assert.deepEqual(plan.slots, [400, 400], "the one that is read, and the one that is written");
  assert.deepEqual(plan.steps[19].places[2], { kind: "fresh", index: 0 });
});

Deno.test("products on a processor, one after the other, pack their operands into the same two images", () => {
  const builder = new GraphBuilder();
  let x = builder.input("x", "f32", ["N", 64]);
  for (const [index, width] of [40, 128, 64].entries()) {
    [x] = builder.op("linear", [x, builder.input(`w${index}`, "f32", [width, x.shape[1] as number])]);
  }
  builder.output("y", x);
  const plan = planOf(builder.build(), 100, false, { ...LIMITS, software: true });
  // The last one's operands are the largest: rows, by the texels from one to the next.
  assert.deepEqual(plan.images, [100 * 33, 64 * 33]);
  const each = [[0], [1], [0, 1]];
  assert.deepEqual(plan.steps.map(({ images }) => images), [...each, ...each, ...each]);
});

Deno.test("no step binds a place twice and writes it", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  const values = [x];
  for (let i = 0; i < 40; i++) {
    values.push(builder.op("add", [values[(i * 7) % values.length], values[(i * 3) % values.length]])[0]);
  }
  builder.output("last", values.at(-1)!);
  builder.output("middle", values[20]);
  const plan = planOf(builder.build(), 10);
  for (const { places } of plan.steps) {
    const [left, right, sum] = places.map(({ kind, index }) => `${kind} ${index}`);
    assert.ok(sum !== left && sum !== right, `${left}, ${right} → ${sum}`);
  }
});

Deno.test("a value that is read late keeps its place until then", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  const [early] = builder.op("add", [x, x]);
  let sum = early;
  for (let i = 0; i < 5; i++) [sum] = builder.op("add", [sum, x]);
  builder.output("y", builder.op("add", [sum, early])[0]);
  const plan = planOf(builder.build(), 10);
  const place = plan.steps[0].places[2];
  assert.deepEqual(plan.steps.at(-1)!.places[1], place);
  for (const { places } of plan.steps.slice(1)) assert.notDeepEqual(places[2], place);
});

Deno.test("an update takes the buffer over that the one before it has left", () => {
  const builder = new GraphBuilder();
  for (const name of ["a", "b", "c"]) {
    const sum = builder.input(`${name}.sum`, "f32", ["N"]);
    const gradient = builder.input(name, "f32", ["N"]);
    builder.update(sum.name, builder.op("accumulate", [sum, gradient])[0]);
  }
  const graph = builder.build();
  const plan = planOf(graph, 8);
  assert.deepEqual(plan.slots, []);
  assert.deepEqual(plan.copies, []);
  const names = plan.fresh.map(({ takesOver }) =>
    takesOver === undefined ? "new" : graph.inputs[takesOver].name
  );
  assert.deepEqual(names, ["new", "a.sum", "b.sum"]);
});

Deno.test("an update's buffer is not taken over while its old contents are read", () => {
  const builder = new GraphBuilder();
  const [a, b] = ["a", "b"].map((name) => builder.input(name, "f32", ["N"]));
  builder.update("a", builder.op("add", [a, b])[0]);
  builder.update("b", builder.op("add", [b, a])[0]);
  const plan = planOf(builder.build(), 8);
  assert.deepEqual(plan.fresh.map(({ takesOver }) => takesOver), [undefined, undefined]);
});

Deno.test("16 bits hold activations and copies of weights, and sums keep 32", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N", 4]);
  const weight = builder.input("weight", "f32", [4, 4]);
  const gain = builder.input("gain", "f32", [4]);
  const total = builder.input("total", "f32", [4, 4]);
  const [twice] = builder.op("add", [x, x]);
  const [grown] = builder.op("add", [weight, weight]);
  builder.update("total", builder.op("accumulate", [total, grown])[0]);
  builder.output("gain", builder.op("add", [gain, gain])[0]);
  builder.output("activation", builder.op("add", [twice, x])[0]);
  const graph = builder.build();
  const plan = planOf(graph, 3, true);
  const storages = plan.steps.map(({ dispatch }) => dispatch.bindings.map(({ storage }) => storage));
  assert.deepEqual(storages, [
    ["f32", "f32", "f16"], // twice
    ["f16", "f16", "f32"], // grown
    ["f32", "f32", "f32"], // total
    ["f32", "f32", "f32"], // gain
    ["f16", "f32", "f32"], // activation, which leaves
  ]);
  assert.deepEqual([...plan.casts.keys()].map((input) => graph.inputs[input].name), ["weight"]);
  assert.deepEqual(plan.steps[1].places[0], { kind: "shadow", index: 1 });
});
