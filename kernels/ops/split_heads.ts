/**
 * Rows as heads: the same numbers in the same order, with the heads as a
 * dimension of their own, for what treats each head as a row (Qwen3's norms of
 * queries and keys). `joinHeads` is its inverse.
 *
 * Shapes: `x [..., H·D]` → `y [..., H, D]`.
 */

import { defineOp, floats } from "../op.ts";
import { copyElements } from "./copy_elements.ts";

export interface SplitHeadsAttributes {
  /** H. */
  readonly heads: number;
}

export const splitHeads = defineOp({
  inputs: [floats("x")],
  outputs: ["y"],
  shapes([x], { heads }: SplitHeadsAttributes) {
    const width = x.at(-1);
    if (typeof width !== "number" || width % heads !== 0) {
      throw new TypeError(`width ${width} is no multiple of ${heads} heads`);
    }
    return [[...x.slice(0, -1), heads, width / heads]];
  },
  reference: ([x], [y]) => y.data.set(x.data),
  gradient: (writer, upstream) => [writer.op("joinHeads", [upstream])[0]],
  onnx(writer, [x], { heads }, [shape]) {
    // A zero stands for the size that is there.
    const sizes = [...shape.slice(0, -1).map(() => 0), heads, shape.at(-1) as number / heads];
    return [writer.node("Reshape", [x, writer.int64(sizes)])];
  },
  webgpu: (writer, [x], [y]) => copyElements(writer, x, y),
});
