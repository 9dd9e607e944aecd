/**
 * The sum of all rows, which is the gradient of what was added to each of them.
 *
 * Shapes: `x [..., C]` → `sum [C]`.
 */

import { defineOp, floats } from "../op.ts";
import { elementCount, shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";
import { flattenRows } from "./flatten_rows.ts";
import { rowBlocks, sumBlocks } from "./sum_blocks.ts";

export const sumRows = defineOp({
  inputs: [floats("x")],
  outputs: ["sum"],
  shapes: shapeRule("...N C -> C"),
  reference([x], [sum]) {
    const width = sum.data.length;
    const sums = new Float64Array(width);
    for (let i = 0; i < x.data.length; i++) sums[i % width] += x.data[i];
    sum.data.set(sums);
  },
  onnx(writer, [x], _attributes, [shape]) {
    const rows = flattenRows(writer, x, shape);
    return [writer.node("ReduceSum", [rows, writer.int64([0])], { keepdims: { int: 0 } })];
  },
  webgpu(writer, [x], [sum]) {
    const [width] = sum.shape;
    const { blocks, sizes } = rowBlocks(elementCount(x.shape) / width);
    const partial = writer.scratch("f32", [blocks, width]);
    writer.dispatch(elementwise(writer.limits, partial, {
      source: [new URL("./sum_rows.wgsl", import.meta.url)],
      constants: { WIDTH: width },
      sizes,
      types: { X: x.storage },
      bindings: [x, partial],
    }));
    sumBlocks(writer, partial, sum);
  },
});
