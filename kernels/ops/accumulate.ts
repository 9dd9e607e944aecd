/**
 * Adds a gradient to a running sum; meant for `GraphBuilder.update`, which
 * then writes the sum in place.
 *
 * Shapes: `sum` and `gradient [...]` → `[...]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { add } from "./add.ts";

export const accumulate = defineOp({
  inputs: [floats("sum"), floats("gradient")],
  outputs: ["sum"],
  shapes: shapeRule("...N, ...N -> ...N"),
  reference: (inputs, outputs) => add.reference(inputs, outputs, {}),
  onnx: (writer, [sum, gradient]) => [writer.node("Add", [sum, gradient])],
  webgpu: (writer, inputs, outputs) => add.webgpu(writer, inputs, outputs, {}),
});
