/**
 * Gradient of `rmsNorm`: with r = `inverse` and s = Σ over C of dy·gain·x,
 * dx = r · (dy·gain − x · s r² / C) and dgain = Σ over rows of dy·x·r.
 *
 * Shapes: `x [..., C]`, `gain [C]`, `inverse [..., 1]`, `dy [..., C]` → `dx [..., C]`, `dgain [C]`.
 */

import { defineOp, floats } from "../op.ts";
import { elementCount, shapeRule } from "../shapes.ts";
import { REDUCE, threadsOf } from "../webgpu/rowwise.ts";
import { flattenRows } from "./flatten_rows.ts";
import { rowBlocks, sumBlocks } from "./sum_blocks.ts";

export const rmsNormGradient = defineOp({
  inputs: [floats("x"), floats("gain"), floats("inverse"), floats("dy")],
  outputs: ["dx", "dgain"],
  shapes: shapeRule("...N C, C, ...N 1, ...N C -> ...N C, C"),
  reference([x, gain, inverse, dy], [dx, dgain]) {
    const width = gain.data.length;
    const gainSums = new Float64Array(width);
    for (let row = 0; row < inverse.data.length; row++) {
      const start = row * width;
      const r = inverse.data[row];
      let sum = 0;
      for (let c = 0; c < width; c++) {
        const product = dy.data[start + c] * x.data[start + c];
        sum += product * gain.data[c];
        gainSums[c] += product * r;
      }
      const pull = sum * r * r / width;
      for (let c = 0; c < width; c++) {
        dx.data[start + c] = r * (dy.data[start + c] * gain.data[c] - x.data[start + c] * pull);
      }
    }
    dgain.data.set(gainSums);
  },
  onnx(writer, [x, gain, inverse, dy], _attributes, [xShape, , inverseShape]) {
    const width = xShape[xShape.length - 1] as number;
    const product = writer.node("Mul", [dy, x]);
    const column = writer.node("Reshape", [gain, writer.int64([width, 1])]);
    const sum = writer.node("MatMul", [product, column]);
    const square = writer.node("Mul", [inverse, inverse]);
    const pull = writer.node("Mul", [
      writer.node("Mul", [sum, square]),
      writer.float(1 / width),
    ]);
    const dx = writer.node("Mul", [
      writer.node("Sub", [
        writer.node("Mul", [dy, gain]),
        writer.node("Mul", [x, pull]),
      ]),
      inverse,
    ]);
    const dgain = writer.node("Gemm", [
      flattenRows(writer, inverse, inverseShape),
      flattenRows(writer, product, xShape),
    ], { transA: { int: 1 } });
    return [dx, writer.node("Reshape", [dgain, writer.int64([width])])];
  },
  webgpu(writer, [x, gain, inverse, dy], [dx, dgain]) {
    const [width] = gain.shape;
    const { blocks, sizes } = rowBlocks(elementCount(inverse.shape));
    const partial = writer.scratch("f32", [blocks, width]);
    writer.dispatch({
      source: [REDUCE, new URL("./rms_norm_gradient.wgsl", import.meta.url)],
      constants: { WIDTH: width, THREADS: threadsOf(width) },
      sizes,
      types: { X: x.storage, Gain: gain.storage, Inverse: inverse.storage, DY: dy.storage, DX: dx.storage },
      bindings: [x, gain, inverse, dy, dx, partial],
      workgroups: [blocks, 1, 1],
    });
    sumBlocks(writer, partial, dgain);
  },
});
