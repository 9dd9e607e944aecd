/**
 * Gradient of `takeLast`: zero but at the last position. Of `x` only the
 * shape counts.
 *
 * Shapes: `dy [B, C]`, `x [B, T, C]` → `dx [B, T, C]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const takeLastGradient = defineOp({
  inputs: [floats("dy"), floats("x")],
  outputs: ["dx"],
  shapes: shapeRule("B C, B T C -> B T C"),
  reference([dy], [dx]) {
    const [batch, length, width] = dx.shape;
    for (let b = 0; b < batch; b++) {
      const row = dy.data.subarray(b * width, (b + 1) * width);
      dx.data.set(row, ((b + 1) * length - 1) * width);
    }
  },
  onnx(writer, [dy, x]) {
    const length = writer.node("Shape", [x], { start: { int: 1 }, end: { int: 2 } });
    const before = writer.node("Sub", [length, writer.int64([1])]);
    const pads = writer.node("Concat", [
      writer.int64([0]),
      before,
      writer.int64([0, 0, 0, 0]),
    ], { axis: { int: 0 } });
    return [writer.node("Pad", [writer.node("Unsqueeze", [dy, writer.int64([1])]), pads])];
  },
  webgpu(writer, [dy], [dx]) {
    writer.dispatch(elementwise(writer.limits, dx, {
      source: [new URL("./take_last_gradient.wgsl", import.meta.url)],
      sizes: { LENGTH: dx.shape[1] },
      constants: { WIDTH: dx.shape[2] },
      types: { DY: dy.storage, DX: dx.storage },
      bindings: [dy, dx],
    }));
  },
});
