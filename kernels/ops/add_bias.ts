/**
 * y = x + bias, the same bias for every row, as Qwen2 adds it to queries, keys
 * and values.
 *
 * Shapes: `x [..., C]`, `bias [C]` → `y [..., C]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const addBias = defineOp({
  inputs: [floats("x"), floats("bias")],
  outputs: ["y"],
  shapes: shapeRule("...N C, C -> ...N C"),
  reference([x, bias], [y]) {
    const width = bias.data.length;
    for (let i = 0; i < x.data.length; i++) y.data[i] = x.data[i] + bias.data[i % width];
  },
  gradient(writer, upstream) {
    return [upstream, writer.op("sumRows", [upstream])[0]];
  },
  onnx: (writer, [x, bias]) => [writer.node("Add", [x, bias])],
  webgpu(writer, [x, bias], [y]) {
    writer.dispatch(elementwise(writer.limits, y, {
      source: [new URL("./add_bias.wgsl", import.meta.url)],
      constants: { WIDTH: bias.shape[0] },
      types: { X: x.storage, Bias: bias.storage, Y: y.storage },
      bindings: [x, bias, y],
    }));
  },
});
