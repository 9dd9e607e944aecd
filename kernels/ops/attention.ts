/**
 * Causal softmax attention with grouped queries: query head h reads key and
 * value head ⌊h · Hkv / H⌋; scores are divided by √D. With more keys than
 * queries (S > T) the queries are the last T of the S positions.
 * (Vaswani et al., 2017, equation 1; Ainslie et al., 2023.)
 *
 * What the gradient needs of the softmax is the logarithm of its denominator
 * alone, one number for each query (Dao, 2023, section 3). Nothing of size
 * T · S outlives the op.
 *
 * Shapes: `q [B, T, H·D]`, `k` and `v [B, S, Hkv·D]`
 * → `y [B, T, H·D]`, `logSumExp [B, H, T]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { batchedProduct, foldGroups, maskedScores, mergeHeads, splitHeads } from "./attention_onnx.ts";
import { attend } from "./attention_webgpu.ts";

export interface AttentionAttributes {
  /** Query heads, H. */
  readonly heads: number;
  /** Key and value heads, Hkv; H is a multiple of it. */
  readonly keyValueHeads: number;
  /** Width of one head, D. */
  readonly headWidth: number;
}

const rule = shapeRule<AttentionAttributes>(
  "B T Q, B S K, B S K -> B T Q, B H T",
  ({ heads, keyValueHeads, headWidth }) => ({
    Q: heads * headWidth,
    K: keyValueHeads * headWidth,
    H: heads,
  }),
);

export const attention = defineOp({
  inputs: [floats("q"), floats("k"), floats("v")],
  outputs: ["y", "logSumExp"],
  wide: ["logSumExp"],
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
  reference([q, k, v], [y, logSumExp], { heads, keyValueHeads, headWidth }) {
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
          for (let s = 0; s < seen; s++) {
            const value = keyAt(s);
            const share = scores[s] / total;
            for (let d = 0; d < headWidth; d++) sums[d] += share * v.data[value + d];
          }
          y.data.set(sums, query);
          logSumExp.data[(b * heads + h) * length + t] = greatest + Math.log(total);
        }
      }
    }
  },
  gradient(writer, upstream, [q, k, v], [y, logSumExp], attributes) {
    return writer.op("attentionGradient", [q, k, v, y, logSumExp, upstream], {
      ...attributes,
    });
  },
  onnx(writer, [q, k, v], attributes, [qShape, kShape]) {
    const { heads, keyValueHeads } = attributes;
    const queries = splitHeads(writer, q, heads, attributes);
    const keys = splitHeads(writer, k, keyValueHeads, attributes);
    const values = splitHeads(writer, v, keyValueHeads, attributes);
    const scores = maskedScores(writer, queries, keys, attributes, [qShape, kShape]);
    const probabilities = writer.node("Softmax", [scores], { axis: { int: -1 } });
    // The greatest probability is exp(0) over the denominator: no second pass of exponentials.
    const greatest = (name: string) =>
      writer.node("ReduceMax", [name, writer.int64([-1])], { keepdims: { int: 0 } });
    const logSumExp = writer.node("Sub", [
      greatest(scores),
      writer.node("Log", [greatest(probabilities)]),
    ]);
    const grouped = foldGroups(writer, probabilities, attributes);
    const y = mergeHeads(writer, batchedProduct(writer, grouped, values), heads, attributes);
    return [y, logSumExp];
  },
  webgpu: attend,
});
