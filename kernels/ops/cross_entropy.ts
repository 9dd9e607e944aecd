/**
 * Sum over tokens of −ln softmax(logits)[target], in nats, and over how many
 * tokens it was taken. A target of −1 is not counted.
 *
 * Shapes: `logits [..., V]`, `targets [...]` (i32, −1 … V−1)
 * → `loss [1]`, `count [1]`, `probabilities [..., V]`.
 */

import { defineOp, floats, integers } from "../op.ts";
import { elementCount, shapeRule } from "../shapes.ts";
import { REDUCE, rowwise } from "../webgpu/rowwise.ts";

/** Invocations that add the losses of all rows up, however many there are. */
const SUM_THREADS = 256;

export const crossEntropy = defineOp({
  inputs: [floats("logits"), integers("targets")],
  outputs: ["loss", "count", "probabilities"],
  shapes: shapeRule("...N V, ...N -> 1, 1, ...N V"),
  integerRange: ([logits]) => ({ minimum: -1, maximum: logits[logits.length - 1] - 1 }),
  reference([logits, targets], [loss, count, probabilities]) {
    const rows = targets.data.length;
    const vocabulary = logits.data.length / rows;
    let sum = 0;
    for (let row = 0; row < rows; row++) {
      const start = row * vocabulary;
      let greatest = -Infinity;
      for (let i = 0; i < vocabulary; i++) {
        greatest = Math.max(greatest, logits.data[start + i]);
      }
      let total = 0;
      for (let i = 0; i < vocabulary; i++) total += Math.exp(logits.data[start + i] - greatest);
      for (let i = 0; i < vocabulary; i++) {
        probabilities.data[start + i] = Math.exp(logits.data[start + i] - greatest) / total;
      }
      const target = targets.data[row];
      if (target < 0) continue;
      sum += Math.log(total) + greatest - logits.data[start + target];
      count.data[0] += 1;
    }
    loss.data[0] = sum;
  },
  gradient(writer, upstream, [_logits, targets], [_loss, _count, probabilities]) {
    return [writer.op("crossEntropyGradient", [probabilities, targets, upstream])[0], undefined];
  },
  onnx(writer, [logits, targets]) {
    const one = writer.int64([1]);
    const greatest = writer.node("ReduceMax", [logits, writer.int64([-1])]);
    const shifted = writer.node("Sub", [logits, greatest]);
    const exponentials = writer.node("Exp", [shifted]);
    const total = writer.node("ReduceSum", [exponentials, writer.int64([-1])]);
    const probabilities = writer.node("Div", [exponentials, total]);
    // Targets below 0 look up token 0, and are masked out of the sum.
    const ids = writer.node("Cast", [targets], { to: { int: 7 } });
    const known = writer.node("Max", [ids, writer.int64(0)]);
    const ofTarget = writer.node("GatherElements", [
      shifted,
      writer.node("Unsqueeze", [known, writer.int64([-1])]),
    ], { axis: { int: -1 } });
    const losses = writer.node("Sub", [writer.node("Log", [total]), ofTarget]);
    const counted = writer.node("GreaterOrEqual", [ids, writer.int64(0)]);
    const masked = writer.node("Where", [
      writer.node("Unsqueeze", [counted, writer.int64([-1])]),
      losses,
      writer.float(0),
    ]);
    const sum = (name: string) =>
      writer.node("Reshape", [
        writer.node("ReduceSum", [name], { keepdims: { int: 0 } }),
        one,
      ]);
    return [
      sum(masked),
      sum(writer.node("Cast", [counted], { to: { int: 1 } })),
      probabilities,
    ];
  },
  webgpu(writer, [logits, targets], [loss, count, probabilities]) {
    const rows = elementCount(targets.shape);
    const vocabulary = logits.shape[logits.shape.length - 1];
    const losses = writer.scratch("f32", [rows]);
    writer.dispatch(rowwise(writer.limits, rows, vocabulary, {
      source: [REDUCE, new URL("./cross_entropy.wgsl", import.meta.url)],
      types: { Logits: logits.storage, Probabilities: probabilities.storage },
      bindings: [logits, targets, probabilities, losses],
    }));
    writer.dispatch({
      source: [REDUCE, new URL("./cross_entropy_sum.wgsl", import.meta.url)],
      sizes: { ROWS: rows },
      constants: { THREADS: SUM_THREADS },
      types: { Loss: loss.storage, Count: count.storage },
      bindings: [losses, targets, loss, count],
      workgroups: [1, 1, 1],
    });
  },
});
