/**
 * Causal softmax attention with grouped queries: query head h reads key and
 * value head ⌊h · Hkv / H⌋; scores are divided by √D. With more keys than
 * queries (S > T) the queries are the last T of the S positions.
 * (Vaswani et al., 2017, equation 1; Ainslie et al., 2023.)
 *
 * Shapes: `q [B, T, H·D]`, `k` and `v [B, S, Hkv·D]`
 * → `y [B, T, H·D]`, `probabilities [B, H, T, S]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { batchedProduct, causalBias, foldGroups, mergeHeads, splitHeads } from "./attention_onnx.ts";

export interface AttentionAttributes {
  /** Query heads, H. */
  readonly heads: number;
  /** Key and value heads, Hkv; H is a multiple of it. */
  readonly keyValueHeads: number;
  /** Width of one head, D. */
  readonly headWidth: number;
}

const rule = shapeRule<AttentionAttributes>(
  "B T Q, B S K, B S K -> B T Q, B H T S",
  ({ heads, keyValueHeads, headWidth }) => ({
    Q: heads * headWidth,
    K: keyValueHeads * headWidth,
    H: heads,
  }),
);

export const attention = defineOp({
  inputs: [floats("q"), floats("k"), floats("v")],
  outputs: ["y", "probabilities"],
  shapes(inputs, attributes: AttentionAttributes) {
    const { heads, keyValueHeads } = attributes;
    if (heads % keyValueHeads !== 0) {
      throw new TypeError(`${heads} heads are no multiple of ${keyValueHeads} key and value heads`);
    }
    const outputs = rule(inputs, attributes);
    const [queries, keys] = [inputs[0][1], inputs[1][1]];
    if (typeof queries === "number" && typeof keys === "number" && keys < queries) {
      throw new TypeError(`${keys} keys are fewer than ${queries} queries`);
    }
    return outputs;
  },
  reference([q, k, v], [y, probabilities], { heads, keyValueHeads, headWidth }) {
    const [batch, length] = q.shape;
    const keys = k.shape[1];
    const scale = 1 / Math.sqrt(headWidth);
    const group = heads / keyValueHeads;
    const scores = new Float64Array(keys);
    const sums = new Float64Array(headWidth);
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        const keyHead = Math.floor(h / group);
        const keyAt = (s: number) => ((b * keys + s) * keyValueHeads + keyHead) * headWidth;
        for (let t = 0; t < length; t++) {
          const query = ((b * length + t) * heads + h) * headWidth;
          const seen = keys - length + t + 1;
          let greatest = -Infinity;
          for (let s = 0; s < seen; s++) {
            const key = keyAt(s);
            let score = 0;
            for (let d = 0; d < headWidth; d++) score += q.data[query + d] * k.data[key + d];
            scores[s] = score * scale;
            if (scores[s] > greatest) greatest = scores[s];
          }
          let total = 0;
          for (let s = 0; s < seen; s++) total += scores[s] = Math.exp(scores[s] - greatest);
          sums.fill(0);
          const row = ((b * heads + h) * length + t) * keys;
          for (let s = 0; s < seen; s++) {
            const value = keyAt(s);
            const share = scores[s] / total;
            probabilities.data[row + s] = share;
            for (let d = 0; d < headWidth; d++) sums[d] += share * v.data[value + d];
          }
          y.data.set(sums, query);
        }
      }
    }
  },
  gradient(writer, upstream, [q, k, v], [y, probabilities], attributes) {
    return writer.op("attentionGradient", [q, k, v, y, probabilities, upstream], {
      ...attributes,
    });
  },
  onnx(writer, [q, k, v], attributes, [qShape, kShape]) {
    const { heads, keyValueHeads, headWidth } = attributes;
    const queries = splitHeads(writer, q, heads, attributes);
    const keys = splitHeads(writer, k, keyValueHeads, attributes);
    const values = splitHeads(writer, v, keyValueHeads, attributes);
    const scores = batchedProduct(writer, queries, keys, {
      transposeRight: true,
      scale: 1 / Math.sqrt(headWidth),
    });
    const perHead = writer.node("Reshape", [scores, writer.int64([0, heads, -1, 0])]);
    const masked = writer.node("Add", [perHead, causalBias(writer, qShape[1], kShape[1])]);
    const probabilities = writer.node("Softmax", [masked], { axis: { int: -1 } });
    const grouped = foldGroups(writer, probabilities, attributes);
    const y = mergeHeads(writer, batchedProduct(writer, grouped, values), heads, attributes);
    return [y, probabilities];
  },
});
