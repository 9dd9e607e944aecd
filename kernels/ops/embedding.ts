/**
 * Looks up rows of a table.
 *
 * Shapes: `tokens [...]` (i32, 0 … V−1), `table [V, C]` → `[..., C]`.
 */

import { defineOp, floats, integers } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const embedding = defineOp({
  inputs: [integers("tokens"), floats("table")],
  outputs: ["hidden"],
  shapes: shapeRule("...N, V C -> ...N C"),
  integerRange: ([_tokens, table]) => ({ minimum: 0, maximum: table[0] - 1 }),
  reference([tokens, table], [hidden]) {
    const width = table.shape[1];
    tokens.data.forEach((token, row) =>
      hidden.data.set(table.data.subarray(token * width, (token + 1) * width), row * width)
    );
  },
  gradient(writer, upstream, [tokens, table]) {
    const [vocabulary] = table.shape;
    return [undefined, writer.op("embeddingGradient", [tokens, upstream], { vocabulary })[0]];
  },
  onnx: (writer, [tokens, table]) => [writer.node("Gather", [table, tokens])],
  webgpu(writer, [tokens, table], [hidden]) {
    writer.dispatch(elementwise(writer.limits, hidden, {
      source: [new URL("./embedding.wgsl", import.meta.url)],
      constants: { WIDTH: table.shape[1] },
      types: { Table: table.storage, Hidden: hidden.storage },
      bindings: [tokens, table, hidden],
    }));
  },
});
