/**
 * Gradient of `embedding` by its table: each token's upstream gradient is
 * added to its row.
 *
 * Shapes: `tokens [...]` (i32), `dy [..., C]` → `[V, C]`.
 */

import { defineOp, floats, integers } from "../op.ts";
import { elementCount, shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";
import { threadsOf } from "../webgpu/rowwise.ts";
import { workgroupsOf } from "../webgpu/workgroups.ts";
import { flattenRows } from "./flatten_rows.ts";
import { zeros } from "./zeros.ts";

export interface EmbeddingGradientAttributes {
  /** Rows of the table, V. */
  readonly vocabulary: number;
}

export const embeddingGradient = defineOp({
  inputs: [integers("tokens"), floats("dy")],
  outputs: ["dtable"],
  shapes: shapeRule<EmbeddingGradientAttributes>(
    "...N, ...N C -> V C",
    ({ vocabulary }) => ({ V: vocabulary }),
  ),
  integerRange: (_shapes, { vocabulary }) => ({ minimum: 0, maximum: vocabulary - 1 }),
  reference([tokens, dy], [dtable]) {
    const width = dtable.shape[1];
    const sums = new Float64Array(dtable.data.length);
    tokens.data.forEach((token, row) => {
      for (let c = 0; c < width; c++) sums[token * width + c] += dy.data[row * width + c];
    });
    dtable.data.set(sums);
  },
  onnx(writer, [tokens, dy], { vocabulary }, [, dyShape]) {
    const width = dyShape[dyShape.length - 1] as number;
    const zeros = writer.node("ConstantOfShape", [writer.int64([vocabulary, width])]);
    const rows = writer.node("Cast", [
      writer.node("Reshape", [tokens, writer.int64([-1, 1])]),
    ], { to: { int: 7 } });
    return [
      writer.node("ScatterND", [zeros, rows, flattenRows(writer, dy, dyShape)], {
        reduction: { text: "add" },
      }),
    ];
  },
  webgpu(writer, [tokens, dy], [dtable]) {
    const count = elementCount(tokens.shape);
    const width = dtable.shape[1];
    const threads = threadsOf(width);
    const order = writer.scratch("i32", [count]);
    writer.dispatch(elementwise(writer.limits, order, {
      source: [new URL("./embedding_order.wgsl", import.meta.url)],
      bindings: [tokens, order],
    }));
    zeros.webgpu(writer, [dtable], [dtable], {});
    const [x, y] = workgroupsOf(writer.limits, count);
    writer.dispatch({
      source: [new URL("./embedding_gradient.wgsl", import.meta.url)],
      sizes: { COUNT: count },
      constants: { WIDTH: width, THREADS: threads },
      types: { DY: dy.storage, DTable: dtable.storage },
      bindings: [tokens, order, dy, dtable],
      workgroups: [x, y, Math.ceil(width / threads)],
    });
  },
});
