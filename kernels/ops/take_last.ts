/**
 * The last position of each sequence.
 *
 * Shapes: `x [B, T, C]` → `[B, C]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const takeLast = defineOp({
  inputs: [floats("x")],
  outputs: ["last"],
  shapes: shapeRule("B T C -> B C"),
  reference([x], [last]) {
    const [batch, length, width] = x.shape;
    for (let b = 0; b < batch; b++) {
      const start = ((b + 1) * length - 1) * width;
      last.data.set(x.data.subarray(start, start + width), b * width);
    }
  },
  gradient: (writer, upstream, [x]) => writer.op("takeLastGradient", [upstream, x]),
  onnx: (writer, [x]) => [writer.node("Gather", [x, writer.int64(-1)], { axis: { int: 1 } })],
  webgpu(writer, [x], [last]) {
    writer.dispatch(elementwise(writer.limits, last, {
      source: [new URL("./take_last.wgsl", import.meta.url)],
      sizes: { LENGTH: x.shape[1] },
      constants: { WIDTH: x.shape[2] },
      types: { X: x.storage, Last: last.storage },
      bindings: [x, last],
    }));
  },
});
