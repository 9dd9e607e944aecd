import assert from "node:assert/strict";
import { type Graph, GraphBuilder, type Value } from "./graph.ts";
import { hostUpdate } from "./host_update.ts";
import type { TypedTensor } from "./op.ts";

const HYPER = { beta1: 0.5, beta2: 0.5, epsilon: 0, weightDecay: 0 };
const NAMES = ["parameter", "gradientSum", "m", "v", "scale", "rate", "correction1", "correction2"];

/** A step of AdamW; `finish` says what else the graph does. */
function stepGraph(
  finish: (builder: GraphBuilder, inputs: readonly Value[], step: readonly Value[]) => void,
): Graph {
  const builder = new GraphBuilder();
  const inputs = NAMES.map((name, i) => builder.input(name, "f32", [i < 4 ? "N" : 1]));
  const step = builder.append("adamw", inputs, HYPER);
  finish(builder, inputs, step);
  return builder.build();
}

function update(builder: GraphBuilder, [parameter, m, v]: readonly Value[]): void {
  builder.update("parameter", parameter);
  builder.update("m", m);
  builder.update("v", v);
}

Deno.test("a step changes its tensors in place, and clears the gradient that it read", () => {
  const graph = stepGraph((builder, inputs, step) => {
    update(builder, step);
    builder.update("gradientSum", builder.op("zeros", [inputs[1]])[0]);
  });
  const values = [[1, 2], [4, -8], [0, 0], [0, 0], [0.5], [0.25], [2], [2]];
  const given = new Map<Value, TypedTensor>(
    graph.inputs.map((
      value,
      i,
    ) => [value, { shape: [values[i].length], data: Float32Array.from(values[i]) }]),
  );
  hostUpdate(graph)!(given);
  const found = graph.inputs.slice(0, 4).map((value) => [...given.get(value)!.data]);
  // With the first step's corrections, an element moves by the rate against its gradient.
  assert.deepEqual(found, [[0.75, 2.25], [0, 0], [1, -2], [2, 8]]);
});

Deno.test("whatever is not a step of AdamW by itself is left to others", () => {
  const others: [string, Graph][] = [
    [
      "a result that is no update",
      stepGraph((builder, _inputs, step) => {
        update(builder, step);
        builder.output("moved", step[0]);
      }),
    ],
    ["a result that nobody wants", stepGraph((builder, _inputs, step) => builder.update("m", step[1]))],
    [
      "another op",
      stepGraph((builder, inputs, step) => {
        update(builder, step);
        builder.update("gradientSum", builder.op("add", [inputs[1], inputs[1]])[0]);
      }),
    ],
    [
      "a second step that reads what the first one changed",
      stepGraph((builder, inputs, [parameter, m, v]) => {
        update(builder, [parameter, m, v]);
        const [, , second] = builder.append("adamw", inputs, HYPER);
        builder.update("gradientSum", second);
      }),
    ],
  ];
  for (const [what, graph] of others) assert.equal(hostUpdate(graph), undefined, what);
});

Deno.test("a graph without an optimizer is no step", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N"]);
  builder.update("x", builder.op("zeros", [x])[0]);
  assert.equal(hostUpdate(builder.build()), undefined);
});
