/**
 * Sum of two tensors of one shape, such as a block's result and the residual
 * stream. Its gradient passes both ways unchanged and saves nothing.
 *
 * Shapes: `left` and `right [...]` → `[...]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const add = defineOp({
  inputs: [floats("left"), floats("right")],
  outputs: ["sum"],
  shapes: shapeRule("...N, ...N -> ...N"),
  reference([left, right], [sum]) {
    for (let i = 0; i < sum.data.length; i++) sum.data[i] = left.data[i] + right.data[i];
  },
  gradient: (_writer, upstream) => [upstream, upstream],
  onnx: (writer, [left, right]) => [writer.node("Add", [left, right])],
  webgpu(writer, [left, right], [sum]) {
    writer.dispatch(elementwise(writer.limits, sum, {
      source: [new URL("./add.wgsl", import.meta.url)],
      types: { Left: left.storage, Right: right.storage, Sum: sum.storage },
      bindings: [left, right, sum],
    }));
  },
});
