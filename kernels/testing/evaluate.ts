/**
 * Runs a graph through its rows' plain loops, but stores every tensor in
 * float64: precise enough for finite differences.
 */

import type { Graph, Value } from "../graph.ts";
import { bind } from "../bind.ts";
import type { OpRow, TypedTensor } from "../op.ts";
import { OPS } from "../ops.ts";
import { elementCount } from "../shapes.ts";
import { type Tensor64, toHost } from "./tensor64.ts";

/** All outputs of a graph, updates under the names of the inputs that they update. */
export function evaluate(
  graph: Graph,
  inputs: Readonly<Record<string, Tensor64>>,
): Record<string, Tensor64> {
  const shapes = bind(
    graph,
    new Map(graph.inputs.map((value) => [value, toHost(inputs[value.name], value.dataType)])),
  );
  const tensors = new Map<Value, TypedTensor>();
  const make = (value: Value, data: Float64Array) =>
    tensors.set(value, { shape: shapes.get(value)!, data: data as unknown as Float32Array });
  for (const value of graph.inputs) make(value, Float64Array.from(inputs[value.name].data));
  for (const node of graph.nodes) {
    for (const value of node.outputs) {
      make(value, new Float64Array(elementCount(shapes.get(value)!)));
    }
    const row: OpRow = OPS[node.op];
    row.reference(
      node.inputs.map((value) => tensors.get(value)! as TypedTensor<"f32">),
      node.outputs.map((value) => tensors.get(value)! as TypedTensor<"f32">),
      node.attributes,
    );
  }
  return Object.fromEntries(graph.outputs.map(({ name, value, updates }) => {
    const { shape, data } = tensors.get(value)!;
    return [updates ?? name, { shape, data: Array.from(data) }];
  }));
}
