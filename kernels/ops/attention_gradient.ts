/**
 * Gradient of `attention` from its saved probabilities P: with dP = dy vᵀ and
 * δ = Σ over D of dy·y (which is Σ over S of P·dP), dS = P · (dP − δ); then
 * dq = dS k / √D, dk = dSᵀ q / √D and dv = Pᵀ dy.
 * (Dao et al., 2022, appendix B.2, for δ.)
 *
 * Shapes: `q`, `y`, `dy [B, T, H·D]`, `k`, `v [B, S, Hkv·D]`, `probabilities [B, H, T, S]`
 * → `dq [B, T, H·D]`, `dk` and `dv [B, S, Hkv·D]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import type { AttentionAttributes } from "./attention.ts";
import { batchedProduct, foldGroups, mergeHeads, splitHeads } from "./attention_onnx.ts";

export const attentionGradient = defineOp({
  inputs: [
    floats("q"),
    floats("k"),
    floats("v"),
    floats("y"),
    floats("probabilities"),
    floats("dy"),
  ],
  outputs: ["dq", "dk", "dv"],
  shapes: shapeRule<AttentionAttributes>(
    "B T Q, B S K, B S K, B T Q, B H T S, B T Q -> B T Q, B S K, B S K",
    ({ heads, keyValueHeads, headWidth }) => ({
      Q: heads * headWidth,
      K: keyValueHeads * headWidth,
      H: heads,
    }),
  ),
  reference(
    [q, k, v, y, probabilities, dy],
    [dq, dk, dv],
    { heads, keyValueHeads, headWidth },
  ) {
    const [batch, length] = q.shape;
    const keys = k.shape[1];
    const scale = 1 / Math.sqrt(headWidth);
    const group = heads / keyValueHeads;
    const querySums = new Float64Array(headWidth);
    const keySums = new Float64Array(dk.data.length);
    const valueSums = new Float64Array(dv.data.length);
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        const keyHead = Math.floor(h / group);
        for (let t = 0; t < length; t++) {
          const query = ((b * length + t) * heads + h) * headWidth;
          const row = ((b * heads + h) * length + t) * keys;
          let delta = 0;
          for (let d = 0; d < headWidth; d++) delta += dy.data[query + d] * y.data[query + d];
          querySums.fill(0);
          for (let s = 0; s <= keys - length + t; s++) {
            const key = ((b * keys + s) * keyValueHeads + keyHead) * headWidth;
            const share = probabilities.data[row + s];
            let byShare = 0;
            for (let d = 0; d < headWidth; d++) byShare += dy.data[query + d] * v.data[key + d];
            const byScore = share * (byShare - delta) * scale;
            for (let d = 0; d < headWidth; d++) {
              querySums[d] += byScore * k.data[key + d];
              keySums[key + d] += byScore * q.data[query + d];
              valueSums[key + d] += share * dy.data[query + d];
            }
          }
          dq.data.set(querySums, query);
        }
      }
    }
    dk.data.set(keySums);
    dv.data.set(valueSums);
  },
  onnx(writer, [q, k, v, y, probabilities, dy], attributes) {
    const { heads, keyValueHeads, headWidth } = attributes;
    const scale = 1 / Math.sqrt(headWidth);
    const queries = splitHeads(writer, q, heads, attributes);
    const keys = splitHeads(writer, k, keyValueHeads, attributes);
    const values = splitHeads(writer, v, keyValueHeads, attributes);
    const upstream = splitHeads(writer, dy, heads, attributes);
    const results = splitHeads(writer, y, heads, attributes);
    const delta = writer.node("ReduceSum", [
      writer.node("Mul", [upstream, results]),
      writer.int64([-1]),
    ]);
    const shares = foldGroups(writer, probabilities, attributes);
    const byShare = batchedProduct(writer, upstream, values, { transposeRight: true });
    const byScore = writer.node("Mul", [shares, writer.node("Sub", [byShare, delta])]);
    const dq = batchedProduct(writer, byScore, keys, { scale });
    const dk = batchedProduct(writer, byScore, queries, { transposeLeft: true, scale });
    const dv = batchedProduct(writer, shares, upstream, { transposeLeft: true });
    return [
      mergeHeads(writer, dq, heads, attributes),
      mergeHeads(writer, dk, keyValueHeads, attributes),
      mergeHeads(writer, dv, keyValueHeads, attributes),
    ];
  },
});
