import assert from "node:assert/strict";
import { GraphBuilder } from "../graph.ts";
import { lower } from "./lower.ts";
import { encodeModel } from "./model.ts";

Deno.test("layers share what they compute alike: masks and tables", () => {
  const builder = new GraphBuilder();
  const positions = builder.input("positions", "i32", ["T"]);
  let x = builder.input("x", "f32", ["B", "T", 8]);
  for (let layer = 0; layer < 3; layer++) {
    const [turned] = builder.op("rope", [x, positions], { heads: 2, headWidth: 4, theta: 10000 });
    const heads = { heads: 2, keyValueHeads: 2, headWidth: 4 };
    [x] = builder.op("attention", [turned, turned, x], heads);
  }
  builder.output("y", x);
  const { nodes } = lower(builder.build());
  const count = (operator: string) => nodes.filter((node) => node.operator === operator).length;
  assert.equal(count("Softmax"), 3);
  assert.equal(count("Where"), 1);
  assert.equal(count("Cos"), 1);
  assert.equal(count("RotaryEmbedding"), 3);
});

Deno.test("outputs get their names without a copy, unless one value has two", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  const [twice] = builder.op("add", [x, x]);
  builder.output("a", twice);
  builder.output("b", twice);
  builder.output("x", x);
  const { nodes, outputs } = lower(builder.build());
  assert.deepEqual(outputs.map(({ name }) => name), ["out:a", "out:b", "out:x"]);
  assert.deepEqual(nodes.map(({ operator, inputs, outputs }) => [operator, ...inputs, ...outputs]), [
    ["Add", "in:x", "in:x", "out:a"],
    ["Identity", "out:a", "out:b"],
    ["Identity", "in:x", "out:x"],
  ]);
});

Deno.test("no name of a graph is one of its model's own", () => {
  const builder = new GraphBuilder();
  const [x, ...others] = ["n0", "n1", "c0", "in:n0", "out:n0", "add#0"].map((name) =>
    builder.input(name, "f32", ["N", 4])
  );
  const gain = builder.input("c1", "f32", [4]);
  const sum = others.reduce((sum, value) => builder.op("add", [sum, value])[0], x);
  builder.output("n0", builder.op("rmsNorm", [sum, gain], { epsilon: 1e-6 })[0]);
  builder.output("n1", sum);
  const { inputs, constants, nodes } = lower(builder.build());
  const names = [...inputs, ...constants].map(({ name }) => name).concat(nodes.flatMap((it) => it.outputs));
  assert.deepEqual(names.filter((name, index) => names.indexOf(name) !== index), []);
});

Deno.test("equal graphs make equal bytes", () => {
  const bytes = () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "f32", ["B", "T", 4]);
    builder.output("last", builder.op("takeLast", [x])[0]);
    return encodeModel(lower(builder.build()));
  };
  assert.deepEqual([...bytes()], [...bytes()]);
});
