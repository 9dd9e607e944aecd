/**
 * A decoder of the Llama family in plain loops over float64, one position after
 * the other, written from the papers and not from our graphs: what those are
 * held to. It is slow, and knows no devices.
 */

import type { ModelConfig } from "../../run/mod.ts";

/** A parameter's values by its name; a tied head may be missing. */
export type Weights = ReadonlyMap<string, ArrayLike<number>>;

/** Logits of the token after each position of a text. */
export function plainLogits(model: ModelConfig, weights: Weights, text: readonly number[]): number[][] {
  const weight = (name: string) => {
    const values = weights.get(name);
    if (!values) throw new TypeError(`There is no ${name}`);
    return values;
  };
  const { width, layers, heads, keyValueHeads, headWidth, hidden } = model;
  const embedding = weight("model.embed_tokens.weight");
  const head = weights.get("lm_head.weight") ?? embedding;
  const keys: number[][][] = Array.from({ length: layers }, () => []);
  const values: number[][][] = Array.from({ length: layers }, () => []);

  return text.map((token, position) => {
    let x = Array.from({ length: width }, (_, i) => embedding[token * width + i]);
    for (let layer = 0; layer < layers; layer++) {
      const of = (name: string) => weight(`model.layers.${layer}.${name}`);
      const projected = (name: string, rows: number, input: readonly number[]) => {
        const product = times(of(`self_attn.${name}_proj.weight`), rows, input);
        if (!model.attentionBias || name === "o") return product;
        const bias = of(`self_attn.${name}_proj.bias`);
        return product.map((value, row) => value + bias[row]);
      };
      const eachHead = (values: readonly number[], name: string) =>
        Array.from({ length: values.length / headWidth }, (_, head) => {
          const own = values.slice(head * headWidth, (head + 1) * headWidth);
          const scaled = model.queryKeyNorm ? norm(own, of(`self_attn.${name}_norm.weight`), model) : own;
          return turned(scaled, position, model);
        });

      const before = norm(x, of("input_layernorm.weight"), model);
      const query = eachHead(projected("q", heads * headWidth, before), "q");
      keys[layer].push(eachHead(projected("k", keyValueHeads * headWidth, before), "k").flat());
      values[layer].push(projected("v", keyValueHeads * headWidth, before));
      const mixed = query.flatMap((query, head) => {
        const begin = Math.floor(head * keyValueHeads / heads) * headWidth;
        const own = (row: readonly number[]) => row.slice(begin, begin + headWidth);
        const scores = keys[layer].map((key) => dot(query, own(key)) / Math.sqrt(headWidth));
        const shares = softmax(scores);
        return query.map((_, i) => dot(shares, values[layer].map((value) => own(value)[i])));
      });
      x = plus(x, projected("o", width, mixed));

      const between = norm(x, of("post_attention_layernorm.weight"), model);
      const gate = times(of("mlp.gate_proj.weight"), hidden, between);
      const up = times(of("mlp.up_proj.weight"), hidden, between);
      const gated = gate.map((value, i) => value / (1 + Math.exp(-value)) * up[i]);
      x = plus(x, times(of("mlp.down_proj.weight"), width, gated));
    }
    return times(head, model.vocabulary, norm(x, weight("model.norm.weight"), model));
  });
}

/** Logarithms of the probabilities that logits stand for. */
export function logSoftmax(logits: readonly number[]): number[] {
  const greatest = Math.max(...logits);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - greatest), 0);
  return logits.map((logit) => logit - greatest - Math.log(total));
}

function softmax(scores: readonly number[]): number[] {
  return logSoftmax(scores).map(Math.exp);
}

function times(matrix: ArrayLike<number>, rows: number, x: readonly number[]): number[] {
  return Array.from(
    { length: rows },
    (_, row) => x.reduce((sum, value, i) => sum + value * matrix[row * x.length + i], 0),
  );
}

function norm(x: readonly number[], gain: ArrayLike<number>, { normEpsilon }: ModelConfig): number[] {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + normEpsilon);
  return x.map((value, i) => value * scale * gain[i]);
}

/** Dimension i turns with i + D/2. */
function turned(x: readonly number[], position: number, { ropeTheta, ropeScaling }: ModelConfig): number[] {
  if (ropeScaling.kind === "llama3") throw new TypeError("The plain decoder knows no llama3 scaling");
  const half = x.length / 2;
  return x.map((value, i) => {
    const place = ropeScaling.kind === "linear" ? position / ropeScaling.factor : position;
    const angle = place * ropeTheta ** (-(i % half) / half);
    const other = i < half ? -x[i + half] : x[i - half];
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

function plus(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value + b[i]);
}
