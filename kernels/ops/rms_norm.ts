/**
 * Root mean square layer normalisation: y = x · r · gain with
 * r = 1 / √(mean(x²) + ε). (Zhang & Sennrich, 2019, equation 4.)
 *
 * Shapes: `x [..., C]`, `gain [C]` → `y [..., C]`, `inverse [..., 1]` (r).
 */

import { defineOp, floats } from "../op.ts";
import type { OnnxWriter } from "../onnx/writer.ts";
import { elementCount, shapeRule } from "../shapes.ts";
import { REDUCE, rowwise } from "../webgpu/rowwise.ts";

export interface RmsNormAttributes {
  /** ε; keeps a row of zeros finite. */
  readonly epsilon: number;
}

export const rmsNorm = defineOp({
  inputs: [floats("x"), floats("gain")],
  outputs: ["y", "inverse"],
  wide: ["inverse"],
  shapes: shapeRule<RmsNormAttributes>("...N C, C -> ...N C, ...N 1"),
  reference([x, gain], [y, inverse], { epsilon }) {
    const width = gain.data.length;
    for (let row = 0; row < inverse.data.length; row++) {
      const start = row * width;
      let squares = 0;
      for (let c = 0; c < width; c++) squares += x.data[start + c] ** 2;
      const r = 1 / Math.sqrt(squares / width + epsilon);
      inverse.data[row] = r;
      for (let c = 0; c < width; c++) y.data[start + c] = x.data[start + c] * r * gain.data[c];
    }
  },
  gradient(writer, upstream, [x, gain], [_y, inverse]) {
    return writer.op("rmsNormGradient", [x, gain, inverse, upstream]);
  },
  onnx(writer, [x, gain], { epsilon }) {
    if (writer.provider === "webgpu") return spelledOut(writer, x, gain, epsilon);
    const [y, inverse] = writer.nodes("SimplifiedLayerNormalization", [x, gain], {
      outputs: 2,
      attributes: { axis: { int: -1 }, epsilon: { float: epsilon } },
    });
    return [y, inverse];
  },
  webgpu(writer, [x, gain], [y, inverse], { epsilon }) {
    writer.dispatch(rowwise(writer.limits, elementCount(inverse.shape), gain.shape[0], {
      source: [REDUCE, new URL("./rms_norm.wgsl", import.meta.url)],
      floats: { EPSILON: epsilon },
      types: { X: x.storage, Gain: gain.storage, Y: y.storage, Inverse: inverse.storage },
      bindings: [x, gain, y, inverse],
    }));
  },
});

/** ONNX Runtime's WebGPU kernel leaves the second output of the operator for it unwritten. */
function spelledOut(writer: OnnxWriter, x: string, gain: string, epsilon: number): [string, string] {
  const squares = writer.node("Mul", [x, x]);
  const mean = writer.node("ReduceMean", [squares, writer.int64([-1])], { keepdims: { int: 1 } });
  const root = writer.node("Sqrt", [writer.node("Add", [mean, writer.float(epsilon)])]);
  const inverse = writer.node("Div", [writer.float(1), root]);
  return [writer.node("Mul", [writer.node("Mul", [x, inverse]), gain]), inverse];
}
