import assert from "node:assert/strict";
import { GraphBuilder, type Value } from "./graph.ts";

Deno.test("ops come out with symbolic shapes", () => {
  const builder = new GraphBuilder();
  const tokens = builder.input("tokens", "i32", ["B", "T"]);
  const table = builder.input("table", "f32", [10, 4]);
  const [hidden] = builder.op("embedding", [tokens, table]);
  assert.deepEqual(hidden.shape, ["B", "T", 4]);
  const sizes = { heads: 2, keyValueHeads: 1, headWidth: 2 };
  const key = builder.input("key", "f32", ["B", "S", 2]);
  const [mixed, logSumExp] = builder.op("attention", [hidden, key, key], sizes);
  assert.deepEqual(mixed.shape, ["B", "T", 4]);
  assert.deepEqual(logSumExp.shape, ["B", 2, "T"]);
});

Deno.test("ops that no output needs are dropped; inputs stay", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  const idle = builder.input("idle", "f32", ["N"]);
  builder.op("add", [idle, idle]);
  builder.output("y", builder.op("add", [x, x])[0]);
  const graph = builder.build();
  assert.deepEqual(graph.nodes.map(({ inputs }) => inputs[0].name), ["x"]);
  assert.deepEqual(graph.inputs.map(({ name }) => name), ["x", "idle"]);
});

Deno.test("a graph is not changed by what its builder does later", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  builder.output("x", x);
  const graph = builder.build();
  builder.output("y", builder.op("add", [x, x])[0]);
  builder.input("z", "f32", [1]);
  assert.equal(graph.inputs.length, 1);
  assert.equal(graph.outputs.length, 1);
  assert.equal(graph.nodes.length, 0);
});

Deno.test("what does not fit is refused where it is written", () => {
  const refused = (message: string, write: (builder: GraphBuilder, x: Value, ids: Value) => unknown) => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "f32", ["N", 4]);
    const ids = builder.input("ids", "i32", ["N"]);
    assert.throws(() => write(builder, x, ids), new TypeError(message));
  };
  const stranger = new GraphBuilder().input("x", "f32", ["N", 4]);
  refused("Cannot add input x: name is taken", (builder) => builder.input("x", "f32", [1]));
  refused("Cannot add input y: shape is [0]", (builder) => builder.input("y", "f32", [0]));
  refused("Cannot add input y: shape is [1.5]", (builder) => builder.input("y", "f32", [1.5]));
  refused("Cannot add input y: shape is []", (builder) => builder.input("y", "f32", [""]));
  refused("Cannot add output x.updated: name is taken", (builder, x) => {
    builder.output("x.updated", x);
    builder.update("x", x);
  });
  refused("Cannot add nonsense: no such op", (builder, x) => builder.append("nonsense", [x]));
  refused("Cannot add toString: no such op", (builder, x) => builder.append("toString", [x]));
  refused("Cannot add add: 1 inputs given, expected 2", (builder, x) => builder.append("add", [x]));
  refused(
    "Cannot add add: right (ids) is i32, expected f32",
    (builder, x, ids) => builder.op("add", [x, ids]),
  );
  refused(
    "Cannot add linear: input 1 has shape [N, 4, 4], expected [O, I]",
    (builder, x) => builder.op("linear", [x, builder.input("w", "f32", ["N", 4, 4])]),
  );
  refused("Cannot add add: x is of another graph", (builder, x) => builder.op("add", [x, stranger]));
  refused("Cannot add output y: x is of another graph", (builder) => builder.output("y", stranger));
  refused("Cannot add output y: name is taken", (builder, x) => {
    builder.output("y", x);
    builder.output("y", x);
  });
  refused("Cannot add update of w: no such input", (builder, x) => builder.update("w", x));
  refused("Cannot add update of x: it is updated already", (builder, x) => {
    builder.update("x", x);
    builder.update("x", x);
  });
  refused(
    "Cannot add update of ids: value is f32 [N, 4], expected i32 [N]",
    (builder, x) => builder.update("ids", x),
  );
  refused("Cannot build graph: it has no output", (builder) => builder.build());
});

Deno.test("attributes that make no sense are refused", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["B", "T", 6]);
  const positions = builder.input("positions", "i32", ["T"]);
  assert.throws(
    () => builder.op("rope", [x, positions], { heads: 2, headWidth: 3, theta: 1e4 }),
    new TypeError("Cannot add rope: headWidth is 3, expected an even one"),
  );
  assert.throws(
    () => builder.op("attention", [x, x, x], { heads: 3, keyValueHeads: 2, headWidth: 2 }),
    new TypeError("Cannot add attention: 3 heads are no multiple of 2 key and value heads"),
  );
});
