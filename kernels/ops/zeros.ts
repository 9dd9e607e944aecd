/**
 * Zeros in the shape of a tensor; with `GraphBuilder.update` it clears one.
 *
 * Shapes: `like [...]` → `[...]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const zeros = defineOp({
  inputs: [floats("like")],
  outputs: ["zeros"],
  shapes: shapeRule("...N -> ...N"),
  reference(_inputs, [zeros]) {
    zeros.data.fill(0);
  },
  webgpu(writer, _inputs, [zeros]) {
    writer.dispatch(elementwise(writer.limits, zeros, {
      source: [new URL("./zeros.wgsl", import.meta.url)],
      types: { Zeros: zeros.storage },
      bindings: [zeros],
    }));
  },
  onnx: (writer, [like]) => [writer.node("ConstantOfShape", [writer.node("Shape", [like])])],
});
