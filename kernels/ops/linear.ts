/**
 * y = x wᵀ, the matrix product that most of a transformer's time goes into.
 * Without bias, which the Llama family does not have.
 *
 * Shapes: `x [..., I]`, `w [O, I]` → `y [..., O]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { flattenRows } from "./flatten_rows.ts";
import { matrixProduct, rowsOf } from "./matrix_product.ts";

export const linear = defineOp({
  inputs: [floats("x"), floats("w")],
  outputs: ["y"],
  shapes: shapeRule("...N I, O I -> ...N O"),
  reference([x, w], [y]) {
    const [outer, inner] = w.shape;
    const rows = x.data.length / inner;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < outer; column++) {
        let sum = 0;
        for (let i = 0, xi = row * inner, wi = column * inner; i < inner; i++, xi++, wi++) {
          sum += x.data[xi] * w.data[wi];
        }
        y.data[row * outer + column] = sum;
      }
    }
  },
  gradient(writer, upstream, [x, w]) {
    const [byX] = writer.op("linearInputGradient", [upstream, w]);
    const [byW] = writer.op("linearWeightGradient", [upstream, x]);
    return [byX, byW];
  },
  onnx(writer, [x, w], _attributes, [xShape, wShape]) {
    if (writer.provider === "webgpu") {
      // It has no kernel for the fused product, which would be computed on the CPU.
      const rows = flattenRows(writer, x, xShape);
      const y = writer.node("Gemm", [rows, w], { transB: { int: 1 } });
      const sizes = writer.node("Shape", [x], { end: { int: -1 } });
      const shape = writer.node("Concat", [sizes, writer.int64([wShape[0] as number])], { axis: { int: 0 } });
      return [xShape.length === 2 ? y : writer.node("Reshape", [y, shape])];
    }
    return [
      writer.nodes("FusedMatMul", [x, w], {
        domain: "com.microsoft",
        outputs: 1,
        attributes: { transB: { int: 1 } },
      })[0],
    ];
  },
  webgpu(writer, [x, w], [y]) {
    const [outer, inner] = w.shape;
    const sizes = { m: rowsOf(x), n: outer, k: inner };
    matrixProduct(writer, sizes, { tensor: x, alongK: true }, { tensor: w, alongK: true }, y);
  },
});
