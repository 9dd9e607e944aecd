/**
 * Gradient of `linear` by its weight: dw = Σ over rows of dyᵀ x.
 *
 * Shapes: `dy [..., O]`, `x [..., I]` → `dw [O, I]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { flattenRows } from "./flatten_rows.ts";
import { matrixProduct, rowsOf } from "./matrix_product.ts";

export const linearWeightGradient = defineOp({
  inputs: [floats("dy"), floats("x")],
  outputs: ["dw"],
  shapes: shapeRule("...N O, ...N I -> O I"),
  reference([dy, x], [dw]) {
    const [outer, inner] = dw.shape;
    const rows = dy.data.length / outer;
    const sums = new Float64Array(inner);
    for (let o = 0; o < outer; o++) {
      sums.fill(0);
      for (let row = 0; row < rows; row++) {
        const factor = dy.data[row * outer + o];
        for (let i = 0, xi = row * inner; i < inner; i++, xi++) sums[i] += factor * x.data[xi];
      }
      dw.data.set(sums, o * inner);
    }
  },
  onnx(writer, [dy, x], _attributes, [dyShape, xShape]) {
    const left = flattenRows(writer, dy, dyShape);
    const right = flattenRows(writer, x, xShape);
    return [writer.node("Gemm", [left, right], { transA: { int: 1 } })];
  },
  webgpu(writer, [dy, x], [dw]) {
    const [outer, inner] = dw.shape;
    const sizes = { m: outer, n: inner, k: rowsOf(x) };
    matrixProduct(writer, sizes, { tensor: dy, alongK: false }, { tensor: x, alongK: false }, dw);
  },
});
