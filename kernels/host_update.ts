/**
 * The optimizer's step over host memory, in place and in one pass, for devices
 * whose tensors lie there: less traffic than an operator for each sum and
 * product, no memory for what lies between them, and the reference's bits by
 * being the reference. It takes no graph that does anything else.
 */

import type { Graph, Value } from "./graph.ts";
import type { OpRow, TypedTensor } from "./op.ts";
import { OPS } from "./ops.ts";

/** Changes the tensors of a graph's inputs as its updates say. They must fit the graph: see `bind`. */
export type HostUpdate = (given: ReadonlyMap<Value, TypedTensor>) => void;

/**
 * How to run a graph in place.
 *
 * @returns `undefined` if it is not an optimizer's step.
 */
export function hostUpdate(graph: Graph): HostUpdate | undefined {
  if (!graph.nodes.some(({ op }) => op === "adamw")) return undefined;
  const places = new Map<Value, Value>();
  for (const { value, updates } of graph.outputs) {
    const input = graph.inputs.find(({ name }) => name === updates);
    if (!input || places.has(value)) return undefined;
    places.set(value, input);
  }
  const changed = new Set<Value>();
  for (const { op, inputs, outputs } of graph.nodes) {
    // Of what `zeros` is given, only the shape counts.
    const reads = op === "zeros" ? [] : inputs;
    if (op !== "zeros" && op !== "adamw") return undefined;
    if (reads.some((value) => changed.has(value) || !graph.inputs.includes(value))) return undefined;
    for (const value of outputs) {
      const place = places.get(value);
      if (!place) return undefined;
      changed.add(place);
    }
  }
  return (given) => {
    for (const { op, inputs, outputs, attributes } of graph.nodes) {
      const row: OpRow = OPS[op];
      row.reference(
        inputs.map((value) => given.get(value) as TypedTensor<"f32">),
        outputs.map((value) => given.get(places.get(value)!) as TypedTensor<"f32">),
        attributes,
      );
    }
  };
}
