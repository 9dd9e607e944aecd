/**
 * Attention of new positions over what their sequences have said before, whose
 * keys and values lie in blocks of a pool (Kwon et al., 2023): a batch of
 * sequences of any lengths that each go on by T positions. What of the softmax
 * and of grouped heads is said in `attention.ts` holds here too.
 *
 * A block holds L positions head by head, so that what a head reads lies
 * together. Query t of sequence b sees its `lengths[b]` past positions and the
 * new ones from 0 to t. What blocks hold beyond a length is never weighed, but
 * some devices multiply it by zero: it must be finite.
 *
 * Shapes, with N = B·T, a sequence's new positions one after the other:
 * `q [1, N, H·D]`, `k` and `v [1, N, Hkv·D]`, `pastKeys` and
 * `pastValues [P, Hkv, L, D]`, `blocks [B, S]` (i32, 0 … P−1), `lengths [B]`
 * (i32, 0 … S·L) → `y [1, N, H·D]`.
 */

import { defineOp, floats, integers } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import type { AttentionAttributes } from "./attention.ts";
import { attendToPast } from "./cached_attention_onnx.ts";
import { attendToPool } from "./cached_attention_webgpu.ts";

const rule = shapeRule<AttentionAttributes>(
  "1 N Q, 1 N K, 1 N K, P G L D, P G L D, B S, B -> 1 N Q",
  ({ heads, keyValueHeads, headWidth }) => ({
    Q: heads * headWidth,
    K: keyValueHeads * headWidth,
    G: keyValueHeads,
    D: headWidth,
  }),
);

export const cachedAttention = defineOp({
  inputs: [
    floats("q"),
    floats("k"),
    floats("v"),
    floats("pastKeys"),
    floats("pastValues"),
    integers("blocks"),
    integers("lengths"),
  ],
  outputs: ["y"],
  shapes(inputs, attributes: AttentionAttributes) {
    const { heads, keyValueHeads } = attributes;
    if (heads % keyValueHeads !== 0) {
      throw new TypeError(`${heads} heads are no multiple of ${keyValueHeads} key and value heads`);
    }
    const outputs = rule(inputs, attributes);
    const [positions, sequences] = [inputs[0][1], inputs[5][0]];
    if (typeof positions === "number" && typeof sequences === "number" && positions % sequences !== 0) {
      throw new TypeError(`${positions} positions are no multiple of ${sequences} sequences`);
    }
    return outputs;
  },
  integerRange: ([, , , [count, , positions], , [, named]], _attributes, name) => ({
    minimum: 0,
    maximum: name === "blocks" ? count - 1 : named * positions,
  }),
  reference([q, k, v, pastKeys, pastValues, blocks, lengths], [y], { heads, keyValueHeads, headWidth }) {
    const [batch, named] = blocks.shape;
    const positions = pastKeys.shape[2];
    const length = q.shape[1] / batch;
    const scale = 1 / Math.sqrt(headWidth);
    const group = heads / keyValueHeads;
    const scores = new Float64Array(named * positions + length);
    const sums = new Float64Array(headWidth);
    for (let b = 0; b < batch; b++) {
      const past = lengths.data[b];
      for (let h = 0; h < heads; h++) {
        const keyHead = Math.floor(h / group);
        /** Where key and value s of the sequence begin, among past ones or among new ones. */
        const placeOf = (s: number) => {
          if (s >= past) return ((b * length + s - past) * keyValueHeads + keyHead) * headWidth;
          const block = blocks.data[b * named + Math.floor(s / positions)];
          return ((block * keyValueHeads + keyHead) * positions + s % positions) * headWidth;
        };
        for (let t = 0; t < length; t++) {
          const query = ((b * length + t) * heads + h) * headWidth;
          const seen = past + t + 1;
          let greatest = -Infinity;
          for (let s = 0; s < seen; s++) {
            const keys = s < past ? pastKeys.data : k.data;
            const key = placeOf(s);
            let score = 0;
            for (let d = 0; d < headWidth; d++) score += q.data[query + d] * keys[key + d];
            scores[s] = score * scale;
            if (scores[s] > greatest) greatest = scores[s];
          }
          let total = 0;
          for (let s = 0; s < seen; s++) total += scores[s] = Math.exp(scores[s] - greatest);
          sums.fill(0);
          for (let s = 0; s < seen; s++) {
            const values = s < past ? pastValues.data : v.data;
            const value = placeOf(s);
            const share = scores[s] / total;
            for (let d = 0; d < headWidth; d++) sums[d] += share * values[value + d];
          }
          y.data.set(sums, query);
        }
      }
    }
  },
  onnx: (writer, inputs, attributes, shapes) => [attendToPast(writer, inputs, attributes, shapes)],
  webgpu: attendToPool,
});
