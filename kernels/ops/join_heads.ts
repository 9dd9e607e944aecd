/**
 * Heads as rows again: the inverse of `splitHeads`, the same numbers in the
 * same order.
 *
 * Shapes: `x [..., H, D]` → `y [..., H·D]`.
 */

import { defineOp, floats } from "../op.ts";
import { copyElements } from "./copy_elements.ts";

export const joinHeads = defineOp({
  inputs: [floats("x")],
  outputs: ["y"],
  shapes([x]) {
    const [heads, width] = x.slice(-2);
    if (x.length < 2 || typeof heads !== "number" || typeof width !== "number") {
      throw new TypeError(`its last sizes are ${heads} and ${width}, expected numbers`);
    }
    return [[...x.slice(0, -2), heads * width]];
  },
  reference: ([x], [y]) => y.data.set(x.data),
  gradient(writer, upstream, [x]) {
    return [writer.op("splitHeads", [upstream], { heads: x.shape.at(-2) })[0]];
  },
  onnx(writer, [x], _attributes, [shape]) {
    const [heads, width] = shape.slice(-2) as readonly number[];
    const sizes = [...shape.slice(0, -2).map(() => 0), heads * width];
    return [writer.node("Reshape", [x, writer.int64(sizes)])];
  },
  webgpu: (writer, [x], [y]) => copyElements(writer, x, y),
});
