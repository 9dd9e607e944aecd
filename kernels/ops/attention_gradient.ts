/**
 * Gradient of `attention`. The probabilities are computed again from the scores:
 * P = exp(q kᵀ / √D − logSumExp). With dP = dy vᵀ and δ = Σ over D of dy·y (which
 * is Σ over S of P·dP), dS = P · (dP − δ); then dq = dS k / √D, dk = dSᵀ q / √D
 * and dv = Pᵀ dy. (Dao, 2023, section 3.1.)
 *
 * Shapes: `q`, `y`, `dy [B, T, H·D]`, `k`, `v [B, S, Hkv·D]`, `logSumExp [B, H, T]`
 * → `dq [B, T, H·D]`, `dk` and `dv [B, S, Hkv·D]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import type { AttentionAttributes } from "./attention.ts";
import { batchedProduct, foldGroups, maskedScores, mergeHeads, splitHeads } from "./attention_onnx.ts";
import { attendBackwards } from "./attention_webgpu.ts";

export const attentionGradient = defineOp({
  inputs: [
    floats("q"),
    floats("k"),
    floats("v"),
    floats("y"),
    floats("logSumExp"),
    floats("dy"),
  ],
  outputs: ["dq", "dk", "dv"],
  shapes: shapeRule<AttentionAttributes>(
    "B T Q, B S K, B S K, B T Q, B H T, B T Q -> B T Q, B S K, B S K",
    ({ heads, keyValueHeads, headWidth }) => ({
      Q: heads * headWidth,
      K: keyValueHeads * headWidth,
      H: heads,
    }),
  ),
  reference(
    [q, k, v, y, logSumExp, dy],
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
          const denominator = logSumExp.data[(b * heads + h) * length + t];
          let delta = 0;
          for (let d = 0; d < headWidth; d++) delta += dy.data[query + d] * y.data[query + d];
          querySums.fill(0);
          for (let s = 0; s <= keys - length + t; s++) {
            const key = ((b * keys + s) * keyValueHeads + keyHead) * headWidth;
            let score = 0;
            let byShare = 0;
            for (let d = 0; d < headWidth; d++) {
              score += q.data[query + d] * k.data[key + d];
              byShare += dy.data[query + d] * v.data[key + d];
            }
            const share = Math.exp(score * scale - denominator);
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
  onnx(writer, [q, k, v, y, logSumExp, dy], attributes, [qShape, kShape]) {
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
    const scores = maskedScores(writer, queries, keys, attributes, [qShape, kShape]);
    const denominators = writer.node("Unsqueeze", [logSumExp, writer.int64([-1])]);
    const probabilities = writer.node("Exp", [writer.node("Sub", [scores, denominators])]);
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
  webgpu: attendBackwards,
});
