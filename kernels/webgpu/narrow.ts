/**
 * What a run with precision `f16` keeps in 16 bits: activations and their
 * gradients, and a copy of the weights. What has to be exact keeps 32: sums over
 * a micro-batch (the gradients of weights, the loss), what leaves for other
 * machines, and what its row says. What is beyond the greatest number of 16 bits,
 * 65,504, is kept as that (`shader.ts`): a run that gets there goes on with
 * finite numbers, if wrong ones, and says so by its loss.
 */

import type { Graph, Value } from "../graph.ts";
import type { OpRow } from "../op.ts";
import { OPS } from "../ops.ts";

/** What nodes make and 16 bits suffice for. */
export function narrowValues(graph: Graph): ReadonlySet<Value> {
  const leaving = new Set(graph.outputs.filter(({ saved }) => !saved).map(({ value }) => value));
  const narrow = graph.nodes.flatMap(({ op, outputs }) => {
    const row: OpRow = OPS[op];
    return outputs.filter((value, index) =>
      !row.wide?.includes(row.outputs[index]) && !leaving.has(value) && !isOfAnyBatch(value)
    );
  });
  return new Set(narrow);
}

/**
 * Inputs that nodes read a copy in 16 bits of: matrices of the same size in every run, which are
 * weights and seldom change.
 */
export function shadowedInputs(graph: Graph): ReadonlySet<Value> {
  const updated = new Set(graph.outputs.map(({ updates }) => updates));
  return new Set(
    graph.inputs.filter((value) =>
      value.dataType === "f32" && value.shape.length > 1 && isOfAnyBatch(value) && !updated.has(value.name)
    ),
  );
}

/** Whether its size is that of every micro-batch: weights have none of a micro-batch's sizes, nor have sums over one. */
function isOfAnyBatch({ shape }: Value): boolean {
  return shape.every((dimension) => typeof dimension === "number");
}
