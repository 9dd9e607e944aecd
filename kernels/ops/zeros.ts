/**
 * Zeros in the shape of a tensor; with `GraphBuilder.update` it clears one.
 *
 * Shapes: `like [...]` → `[...]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";

export const zeros = defineOp({
  inputs: [floats("like")],
  outputs: ["zeros"],
  shapes: shapeRule("...N -> ...N"),
  reference() {},
  onnx: (writer, [like]) => [writer.node("ConstantOfShape", [writer.node("Shape", [like])])],
});
