/**
 * Gradient of `linear` by its input: dx = dy w.
 *
 * Shapes: `dy [..., O]`, `w [O, I]` → `dx [..., I]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { matrixProduct, rowsOf } from "./matrix_product.ts";

export const linearInputGradient = defineOp({
  inputs: [floats("dy"), floats("w")],
  outputs: ["dx"],
  shapes: shapeRule("...N O, O I -> ...N I"),
  reference([dy, w], [dx]) {
    const [outer, inner] = w.shape;
    const rows = dy.data.length / outer;
    const sums = new Float64Array(inner);
    for (let row = 0; row < rows; row++) {
      sums.fill(0);
      for (let o = 0; o < outer; o++) {
        const factor = dy.data[row * outer + o];
        for (let i = 0, wi = o * inner; i < inner; i++, wi++) sums[i] += factor * w.data[wi];
      }
      dx.data.set(sums, row * inner);
    }
  },
  onnx: (writer, [dy, w]) => [writer.node("MatMul", [dy, w])],
  webgpu(writer, [dy, w], [dx]) {
    const [outer, inner] = w.shape;
    const sizes = { m: rowsOf(dy), n: inner, k: outer };
    matrixProduct(writer, sizes, { tensor: dy, alongK: true }, { tensor: w, alongK: false }, dx);
  },
});
