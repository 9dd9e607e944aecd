import assert from "node:assert/strict";
import fc from "fast-check";
import { differentiate } from "./gradient.ts";
import { type Graph, GraphBuilder } from "./graph.ts";
import type { OpRow } from "./op.ts";
import { type OpName, OPS } from "./ops.ts";
import { decoder } from "./testing/decoder.ts";
import { drawFrom, sizes } from "./testing/draw.ts";
import { evaluate } from "./testing/evaluate.ts";
import { OP_CASES, type OpInstance } from "./testing/op_cases.ts";
import { greatestOf, type Tensor64 } from "./testing/tensor64.ts";

const DIFFERENTIABLE = (Object.keys(OPS) as OpName[]).filter((op) => (OPS[op] as OpRow).gradient);

for (const op of DIFFERENTIABLE) {
  Deno.test(`gradient of ${op} agrees with finite differences`, () => {
    fc.assert(
      fc.property(sizes, fc.integer(), (sizes, seed) => {
        const draw = drawFrom(seed, 1);
        const made = OP_CASES[op].instance(sizes, draw);
        const graph = graphOf(op, made);
        const inputs = Object.fromEntries(made.inputs.map((tensor, i) => [`${i}`, tensor]));
        const upstream = draw.floats(...evaluate(graph, inputs).y.shape);
        compareWithDifferences(graph, inputs, { y: upstream });
      }),
      { numRuns: 8 },
    );
  });
}

Deno.test("gradient of a whole decoder agrees with finite differences", () => {
  const sizes = {
    vocabulary: 5,
    width: 4,
    heads: 2,
    keyValueHeads: 1,
    headWidth: 2,
    hidden: 3,
    layers: 2,
  };
  const graph = decoder(sizes);
  const draw = drawFrom(3, 1);
  const inputs = Object.fromEntries(graph.inputs.map(({ name, shape, dataType }) => {
    if (name === "positions") return [name, { shape: [3], data: [0, 1, 2] }];
    if (dataType === "i32") return [name, draw.integers(0, 4, 2, 3)];
    return [name, draw.floats(...shape as number[])];
  }));
  compareWithDifferences(graph, inputs, { loss: { shape: [1], data: [1] } });
});

Deno.test("gradients of several outputs, and of a value used twice, add up", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  const [twice] = builder.op("add", [x, x]);
  builder.output("twice", twice);
  builder.output("fourfold", builder.op("add", [twice, twice])[0]);
  builder.output("itself", x);
  const { backward } = differentiate(builder.build(), {
    outputs: ["twice", "fourfold", "itself"],
    withRespectTo: ["x"],
  });
  const result = evaluate(backward, {
    "twice.gradient": { shape: [1], data: [1] },
    "fourfold.gradient": { shape: [1], data: [10] },
    "itself.gradient": { shape: [1], data: [100] },
  });
  assert.deepEqual(result["x.gradient"].data, [2 + 40 + 100]);
});

Deno.test("accumulated gradients are added to their sums, in place", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N", 2]);
  const w = builder.input("w", "f32", [1, 2]);
  builder.output("y", builder.op("linear", [x, w])[0]);
  const { backward } = differentiate(builder.build(), { outputs: ["y"], accumulate: ["w"] });
  assert.deepEqual(backward.outputs.map(({ updates }) => updates), ["w.gradientSum"]);
  const result = evaluate(backward, {
    x: { shape: [1, 2], data: [3, 5] },
    "w.gradientSum": { shape: [1, 2], data: [100, 200] },
    "y.gradient": { shape: [1, 1], data: [2] },
  });
  assert.deepEqual(result["w.gradientSum"].data, [106, 210]);
});

Deno.test("without parameter gradients, backward drops their work and shares forward's names", () => {
  const graph = decoder(
    { vocabulary: 5, width: 4, heads: 2, keyValueHeads: 1, headWidth: 2, hidden: 3, layers: 2 },
  );
  const full = differentiate(graph, {
    outputs: ["loss"],
    withRespectTo: ["layer0.q"],
    accumulate: ["layer0.k", "layer1.gate", "embedding"],
  });
  const lean = differentiate(graph, { outputs: ["loss"], withRespectTo: ["layer0.q"] });
  const count = (graph: Graph, op: OpName) => graph.nodes.filter((node) => node.op === op).length;
  assert.equal(count(lean.backward, "linearWeightGradient"), 1);
  assert.equal(count(lean.backward, "accumulate"), 0);
  assert.equal(count(lean.backward, "embeddingGradient"), 0);
  assert.equal(count(full.backward, "linearWeightGradient"), 4); // the tied head's is the fourth
  assert.equal(count(full.backward, "embeddingGradient"), 1);
  const forwardYields = new Set(full.forward.outputs.map(({ name }) => name));
  for (const name of lean.saved) assert.ok(forwardYields.has(name), name);
});

Deno.test("forward saves no input, and neither side of an addition", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N", 4]);
  const w = builder.input("w", "f32", [4, 4]);
  const [y] = builder.op("linear", [x, w]);
  builder.output("y", builder.op("add", [x, y])[0]);
  const options = { outputs: ["y"], withRespectTo: ["x"], accumulate: ["w"] };
  assert.deepEqual(differentiate(builder.build(), options).saved, []);
});

Deno.test("what can't be differentiated is refused by name", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N", 2]);
  const tokens = builder.input("tokens", "i32", ["N"]);
  builder.input("idle", "f32", [1]);
  const [y, inverse] = builder.op("rmsNorm", [x, builder.input("gain", "f32", [2])], {
    epsilon: 1,
  });
  const [dead] = builder.op("zeros", [x]);
  builder.output("y", y);
  builder.output("inverse", inverse);
  builder.output("dead", dead);
  builder.output("tokens", tokens);
  const graph = builder.build();
  const cases: [readonly string[], readonly string[], string][] = [
    [["y"], [], "Cannot differentiate: no input is named"],
    [["y"], ["nobody"], "Cannot differentiate by nobody: no such input"],
    [["nobody"], ["x"], "Cannot differentiate: no output is named nobody"],
    [["y"], ["idle"], "Cannot differentiate by idle: it doesn't influence y"],
    [["tokens"], ["x"], "Cannot differentiate tokens: it is i32"],
    [["dead"], ["x"], "Cannot differentiate zeros: it has no gradient"],
    [
      ["inverse"],
      ["x"],
      "Cannot differentiate rmsNorm#0.inverse: only a first output has a gradient",
    ],
  ];
  for (const [outputs, withRespectTo, message] of cases) {
    assert.throws(() => differentiate(graph, { outputs, withRespectTo }), new TypeError(message));
  }
});

/** A graph of one op; inputs are named by their index, the result is `y`. */
function graphOf(op: OpName, { inputs, attributes }: OpInstance): Graph {
  const builder = new GraphBuilder();
  const row: OpRow = OPS[op];
  const values = inputs.map(({ shape }, i) => builder.input(`${i}`, row.inputs[i].dataType, shape));
  builder.output("y", builder.append(op, values, attributes)[0]);
  return builder.build();
}

/** Checks the gradient by every float input, element by element, of Σ upstream · output. */
function compareWithDifferences(
  graph: Graph,
  inputs: Readonly<Record<string, Tensor64>>,
  upstream: Readonly<Record<string, Tensor64>>,
): void {
  const names = graph.inputs.filter(({ dataType }) => dataType === "f32").map(({ name }) => name);
  const outputs = Object.keys(upstream);
  const { forward, backward } = differentiate(graph, { outputs, withRespectTo: names });
  const gradients = evaluate(backward, {
    ...inputs,
    ...evaluate(forward, inputs),
    ...Object.fromEntries(outputs.map((name) => [`${name}.gradient`, upstream[name]])),
  });
  const objective = (changed: Readonly<Record<string, Tensor64>>): number => {
    const found = evaluate(graph, changed);
    let total = 0;
    for (const name of outputs) {
      found[name].data.forEach((element, i) => total += element * upstream[name].data[i]);
    }
    return total;
  };
  const step = 1e-6;
  for (const name of names) {
    const { shape, data } = inputs[name];
    const gradient = gradients[`${name}.gradient`];
    assert.deepEqual(gradient.shape, shape);
    data.forEach((_, i) => {
      const moved = (by: number) => {
        const changed = { shape, data: data.map((element, j) => j === i ? element + by : element) };
        return objective({ ...inputs, [name]: changed });
      };
      const slope = (moved(step) - moved(-step)) / (2 * step);
      const off = Math.abs(slope - gradient.data[i]);
      assert.ok(
        off <= 1e-5 * (1 + greatestOf(gradient)),
        `gradient by ${name}[${i}] is ${gradient.data[i]}, differences say ${slope}`,
      );
    });
  }
}
