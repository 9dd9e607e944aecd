/**
 * Some of the rows of a run over several sequences: of each the last, so that
 * what is drawn from costs a head for one position and not for all.
 *
 * Shapes: `hidden [1, N, C]`, `at [B]` (i32, 0 … N−1) → `[1, B, C]`.
 */

import { defineOp, floats, integers } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const takeRows = defineOp({
  inputs: [floats("hidden"), integers("at")],
  outputs: ["taken"],
  shapes: shapeRule("1 N C, B -> 1 B C"),
  integerRange: ([hidden]) => ({ minimum: 0, maximum: hidden[1] - 1 }),
  reference([hidden, at], [taken]) {
    const width = hidden.shape[2];
    at.data.forEach((row, i) =>
      taken.data.set(hidden.data.subarray(row * width, (row + 1) * width), i * width)
    );
  },
  onnx: (writer, [hidden, at]) => [writer.node("Gather", [hidden, at], { axis: { int: 1 } })],
  webgpu(writer, [hidden, at], [taken]) {
    writer.dispatch(elementwise(writer.limits, taken, {
      source: [new URL("./take_rows.wgsl", import.meta.url)],
      constants: { WIDTH: hidden.shape[2] },
      types: { Hidden: hidden.storage, Taken: taken.storage },
      bindings: [hidden, at, taken],
    }));
  },
});
