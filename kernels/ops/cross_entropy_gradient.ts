/**
 * Gradient of `crossEntropy`: (probabilities − one-hot target) · dloss, and
 * zero where the target is −1.
 *
 * Shapes: `probabilities [..., V]`, `targets [...]` (i32), `dloss [1]` → `dlogits [..., V]`.
 */

import { defineOp, floats, integers } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const crossEntropyGradient = defineOp({
  inputs: [floats("probabilities"), integers("targets"), floats("dloss")],
  outputs: ["dlogits"],
  shapes: shapeRule("...N V, ...N, 1 -> ...N V"),
  integerRange: ([shape]) => ({ minimum: -1, maximum: shape[shape.length - 1] - 1 }),
  reference([probabilities, targets, dloss], [dlogits]) {
    const rows = targets.data.length;
    const vocabulary = probabilities.data.length / rows;
    for (let row = 0; row < rows; row++) {
      const target = targets.data[row];
      if (target < 0) continue;
      const start = row * vocabulary;
      for (let i = 0; i < vocabulary; i++) {
        const expected = i === target ? 1 : 0;
        dlogits.data[start + i] = (probabilities.data[start + i] - expected) * dloss.data[0];
      }
    }
  },
  onnx(writer, [probabilities, targets, dloss]) {
    const ids = writer.node("Unsqueeze", [
      writer.node("Cast", [targets], { to: { int: 7 } }),
      writer.int64([-1]),
    ]);
    const counted = writer.node("GreaterOrEqual", [ids, writer.int64(0)]);
    const known = writer.node("Max", [ids, writer.int64(0)]);
    const minusOnes = writer.node("Expand", [writer.float(-1), writer.node("Shape", [known])]);
    const difference = writer.node("ScatterElements", [probabilities, known, minusOnes], {
      axis: { int: -1 },
      reduction: { text: "add" },
    });
    const factor = writer.node("Where", [counted, dloss, writer.float(0)]);
    return [writer.node("Mul", [difference, factor])];
  },
  webgpu(writer, [probabilities, targets, dloss], [dlogits]) {
    writer.dispatch(elementwise(writer.limits, dlogits, {
      source: [new URL("./cross_entropy_gradient.wgsl", import.meta.url)],
      constants: { VOCABULARY: probabilities.shape[probabilities.shape.length - 1] },
      types: { Probabilities: probabilities.storage, DLoss: dloss.storage, DLogits: dlogits.storage },
      bindings: [probabilities, targets, dloss, dlogits],
    }));
  },
});
