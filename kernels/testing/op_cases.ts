/**
 * One case per op: inputs of given sizes, and the result by the op's formula,
 * written without looking at its loops. An op without a case does not compile.
 */

import type { OpName } from "../ops.ts";
import { at, greatestOf, reshape, sum, type Tensor64, tensor64 } from "./tensor64.ts";

/** Small numbers that a case makes its shapes and attributes from. All at least 1. */
export interface Sizes {
  readonly batch: number;
  readonly length: number;
  /** Keys before the first query; may be 0. */
  readonly past: number;
  readonly width: number;
  readonly outer: number;
  readonly keyValueHeads: number;
  /** Query heads per key and value head. */
  readonly group: number;
  /** Half of a head's width. */
  readonly half: number;
  readonly vocabulary: number;
}

/** Every size at its least. */
export const LEAST_SIZES: Sizes = {
  batch: 1,
  length: 1,
  past: 0,
  width: 1,
  outer: 1,
  keyValueHeads: 1,
  group: 1,
  half: 1,
  vocabulary: 1,
};

/** Where a case takes its numbers from. */
export interface Draw {
  /** Uniform in −scale … scale, exactly representable in `f32`. */
  floats(...shape: number[]): Tensor64;
  /** The same, from `least` to `most`. */
  between(least: number, most: number, ...shape: number[]): Tensor64;
  /** Uniform integers, both ends included. */
  integers(least: number, most: number, ...shape: number[]): Tensor64;
}

/** Inputs in the order of the op's row. */
export interface OpInstance {
  readonly inputs: readonly Tensor64[];
  readonly attributes?: Readonly<Record<string, number | boolean>>;
}

/** How to try an op. */
export interface OpCase {
  instance(sizes: Sizes, draw: Draw): OpInstance;
  formula(
    inputs: readonly Tensor64[],
    attributes: Readonly<Record<string, number>>,
  ): readonly Tensor64[];
  /** What the terms of each output's elements amount to, where they may cancel. */
  magnitudes?(
    inputs: readonly Tensor64[],
    attributes: Readonly<Record<string, number>>,
  ): readonly number[];
  /**
   * Sizes to try once, beside small ones by chance; others are at their least. Where kernels
   * go another way: past a workgroup's elements, or a block of rows.
   */
  readonly edges?: readonly Partial<Sizes>[];
  /** Greatest magnitudes of elements to try; default tiny, ordinary and large. */
  readonly scales?: readonly number[];
  /** Share of the greatest element by which a device may be off; default 2e-5. */
  readonly tolerance?: number;
}

/** Scales at which scores stay in the range where `f32` still tells them apart. */
const MODERATE = [1e-6, 1, 8];

/** Positions of a block of cached keys and values. */
const BLOCK = 4;

/** The case of every op. */
export const OP_CASES: Readonly<Record<OpName, OpCase>> = {
  accumulate: {
    instance: ({ batch, width }, draw) => ({
      inputs: [draw.floats(batch, width), draw.floats(batch, width)],
    }),
    formula: ([left, right]) => [tensor64(left.shape, (b, c) => at(left)(b, c) + at(right)(b, c))],
  },
  adamw: {
    instance: ({ outer, width }, draw) => ({
      inputs: [
        draw.floats(outer, width),
        draw.floats(outer, width),
        draw.floats(outer, width),
        draw.between(0, 1, outer, width),
        draw.between(0.01, 1, 1),
        draw.between(0, 0.1, 1),
        draw.between(1, 10, 1),
        draw.between(1, 100, 1),
      ],
      attributes: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
    }),
    magnitudes: ([parameter]) => [greatestOf(parameter) + 1],
    formula(inputs, { beta1, beta2, epsilon, weightDecay }) {
      const [parameter, gradientSum, m, v, ...scalars] = inputs;
      const [scale, rate, correction1, correction2] = scalars.map((scalar) => scalar.data[0]);
      const g = gradientSum.data.map((element) => element * scale);
      const mean = m.data.map((element, i) => beta1 * element + (1 - beta1) * g[i]);
      const square = v.data.map((element, i) => beta2 * element + (1 - beta2) * g[i] ** 2);
      const moved = parameter.data.map((element, i) => {
        const step = mean[i] * correction1 / (Math.sqrt(square[i] * correction2) + epsilon);
        return element - rate * (step + weightDecay * element);
      });
      return [moved, mean, square].map((data) => ({ shape: parameter.shape, data }));
    },
    scales: [1e-3, 1, 1e3],
  },
  add: {
    instance: ({ batch, length, width }, draw) => ({
      inputs: [draw.floats(batch, length, width), draw.floats(batch, length, width)],
    }),
    formula: ([left, right]) => [
      { shape: left.shape, data: left.data.map((element, i) => element + right.data[i]) },
    ],
    edges: [{ length: 33, width: 9 }],
  },
  addBias: {
    instance: ({ batch, length, width }, draw) => ({
      inputs: [draw.floats(batch, length, width), draw.floats(width)],
    }),
    formula: ([x, bias]) => [tensor64(x.shape, (b, t, c) => at(x)(b, t, c) + at(bias)(c))],
  },
  attention: {
    instance(sizes, draw) {
      const { batch, length, past, keyValueHeads, group, half } = sizes;
      const headWidth = 2 * half;
      const heads = keyValueHeads * group;
      return {
        inputs: [
          draw.floats(batch, length, heads * headWidth),
          draw.floats(batch, past + length, keyValueHeads * headWidth),
          draw.floats(batch, past + length, keyValueHeads * headWidth),
        ],
        attributes: { heads, keyValueHeads, headWidth },
      };
    },
    magnitudes: ([, , v]) => [greatestOf(v), 1],
    formula: ([q, k, v], { heads, keyValueHeads, headWidth }) =>
      attentionFormula(q, k, v, heads, keyValueHeads, headWidth),
    // Past a tile of 64 rows (of two heads each) and of 32 keys; and many keys for a few queries.
    edges: [{ length: 33, past: 32, group: 2, half: 17 }, { length: 2, past: 1050, half: 3 }],
    scales: MODERATE,
    tolerance: 1e-4,
  },
  attentionGradient: {
    instance(sizes, draw) {
      const { inputs: [q, k, v], attributes } = OP_CASES.attention.instance(sizes, draw);
      const [y, logSumExp] = OP_CASES.attention.formula(
        [q, k, v],
        attributes as Record<string, number>,
      ).map(rounded);
      return { inputs: [q, k, v, y, logSumExp, draw.floats(...q.shape)], attributes };
    },
    magnitudes: ([q, k, v, , , dy], { headWidth, heads }) => {
      const slope = greatestOf(dy) * greatestOf(v) * headWidth;
      return [slope * greatestOf(k), slope * greatestOf(q) * heads, greatestOf(dy) * heads];
    },
    formula([q, k, v, , , dy], { heads, keyValueHeads, headWidth }) {
      const [batch, length] = q.shape;
      const keys = k.shape[1];
      const group = heads / keyValueHeads;
      const [perQuery, perKey] = [[batch, length, heads, headWidth], [
        batch,
        keys,
        keyValueHeads,
        headWidth,
      ]];
      const [Q, K, V, D] = [
        at(reshape(q, ...perQuery)),
        at(reshape(k, ...perKey)),
        at(reshape(v, ...perKey)),
        at(reshape(dy, ...perQuery)),
      ];
      const P = at(attentionProbabilities(q, k, heads, keyValueHeads, headWidth));
      const owner = (h: number) => Math.floor(h / group);
      const byShare = at(tensor64(
        [batch, heads, length, keys],
        (b, h, t, s) => sum(headWidth, (d) => D(b, t, h, d) * V(b, s, owner(h), d)),
      ));
      // Through the whole Jacobian of softmax.
      const byScore = at(tensor64([batch, heads, length, keys], (b, h, t, s) =>
        sum(
          keys,
          (u) => byShare(b, h, t, u) * P(b, h, t, u) * ((u === s ? 1 : 0) - P(b, h, t, s)),
        ) / Math.sqrt(headWidth)));
      const overGroup = (owned: number, term: (h: number, t: number) => number) =>
        sum(group, (g) => sum(length, (t) => term(owned * group + g, t)));
      return [
        reshape(
          tensor64(
            perQuery,
            (b, t, h, d) => sum(keys, (s) => byScore(b, h, t, s) * K(b, s, owner(h), d)),
          ),
          ...q.shape,
        ),
        reshape(
          tensor64(
            perKey,
            (b, s, o, d) => overGroup(o, (h, t) => byScore(b, h, t, s) * Q(b, t, h, d)),
          ),
          ...k.shape,
        ),
        reshape(
          tensor64(perKey, (b, s, o, d) => overGroup(o, (h, t) => P(b, h, t, s) * D(b, t, h, d))),
          ...k.shape,
        ),
      ];
    },
    edges: [{ length: 33, past: 32, group: 2, half: 17 }],
    scales: [1e-6, 1, 4],
    tolerance: 1e-4,
  },
  cachedAttention: {
    instance({ batch, length, past, keyValueHeads, group, width: headWidth }, draw) {
      const heads = keyValueHeads * group;
      const keyWidth = keyValueHeads * headWidth;
      const capacity = past + 1;
      const named = Math.ceil(capacity / BLOCK);
      // Twice the blocks that are named, which lie anywhere among them; a sequence may have no past at all.
      const pool = 2 * batch * named;
      const order = shuffled(pool, draw);
      const lengths = [past, ...draw.integers(0, capacity, batch - 1).data];
      return {
        inputs: [
          draw.floats(1, batch * length, heads * headWidth),
          draw.floats(1, batch * length, keyWidth),
          draw.floats(1, batch * length, keyWidth),
          draw.floats(pool, keyValueHeads, BLOCK, headWidth),
          draw.floats(pool, keyValueHeads, BLOCK, headWidth),
          { shape: [batch, named], data: order.slice(0, batch * named) },
          { shape: [batch], data: lengths },
        ],
        attributes: { heads, keyValueHeads, headWidth },
      };
    },
    magnitudes: ([, , v, , pastValues]) => [Math.max(greatestOf(v), greatestOf(pastValues))],
    formula([q, k, v, pastKeys, pastValues, blocks, lengths], { heads, keyValueHeads, headWidth }) {
      const batch = lengths.data.length;
      const length = q.shape[1] / batch;
      const sequences = lengths.data.map((past, b) => {
        const own = (x: Tensor64) =>
          tensor64([1, length, x.shape[2]], (_, t, c) => at(x)(0, b * length + t, c));
        const whole = (pool: Tensor64, added: Tensor64) =>
          tensor64(
            [1, past + length, keyValueHeads * headWidth],
            (_, s, c) =>
              s < past
                ? at(pool)(
                  at(blocks)(b, Math.floor(s / BLOCK)),
                  Math.floor(c / headWidth),
                  s % BLOCK,
                  c % headWidth,
                )
                : at(added)(0, b * length + s - past, c),
          );
        const [keys, values] = [whole(pastKeys, k), whole(pastValues, v)];
        return attentionFormula(own(q), keys, values, heads, keyValueHeads, headWidth)[0];
      });
      return [{ shape: q.shape, data: sequences.flatMap(({ data }) => data) }];
    },
    // No past; one of several parts, in heads that share keys; wide heads; chunks longer than a tile of rows.
    edges: [
      {},
      { batch: 3, past: 700, keyValueHeads: 2, group: 3, width: 4 },
      { batch: 2, past: 270, group: 2, width: 64 },
      { past: 33, width: 256 },
      { length: 33, past: 300, group: 3, width: 17 },
      { batch: 2, length: 70, past: 31, keyValueHeads: 2, width: 12 },
    ],
    scales: MODERATE,
    tolerance: 1e-4,
  },
  crossEntropy: {
    instance: ({ batch, length, vocabulary }, draw) => ({
      inputs: [
        draw.floats(batch, length, vocabulary),
        draw.integers(-1, vocabulary - 1, batch, length),
      ],
    }),
    magnitudes: ([, targets]) => [targets.data.length],
    formula([logits, targets]) {
      const [batch, length, vocabulary] = logits.shape;
      const L = at(logits);
      const logTotal = at(tensor64([batch, length], (b, t) => {
        const row = Array.from({ length: vocabulary }, (_, i) => L(b, t, i));
        const greatest = Math.max(...row);
        return greatest + Math.log(row.reduce((all, one) => all + Math.exp(one - greatest), 0));
      }));
      const losses = tensor64([batch, length], (b, t) => {
        const target = at(targets)(b, t);
        return target < 0 ? 0 : logTotal(b, t) - L(b, t, target);
      });
      return [
        { shape: [1], data: [losses.data.reduce((all, one) => all + one, 0)] },
        { shape: [1], data: [targets.data.filter((target) => target >= 0).length] },
        tensor64(logits.shape, (b, t, i) => Math.exp(L(b, t, i) - logTotal(b, t))),
      ];
    },
    edges: [{ length: 300, vocabulary: 5 }, { length: 2, vocabulary: 1031 }, { vocabulary: 50_257 }],
    scales: [1e-6, 1, 1e4, 1e30],
  },
  crossEntropyGradient: {
    instance({ batch, length, vocabulary }, draw) {
      const raw = draw.between(0.1, 1, batch, length, vocabulary);
      const total = at(
        tensor64([batch, length], (b, t) => sum(vocabulary, (i) => at(raw)(b, t, i))),
      );
      return {
        inputs: [
          rounded(tensor64(raw.shape, (b, t, i) => at(raw)(b, t, i) / total(b, t))),
          draw.integers(-1, vocabulary - 1, batch, length),
          draw.floats(1),
        ],
      };
    },
    formula: ([probabilities, targets, dloss]) => [
      tensor64(probabilities.shape, (b, t, i) => {
        const target = at(targets)(b, t);
        const expected = target === i ? 1 : 0;
        return target < 0 ? 0 : (at(probabilities)(b, t, i) - expected) * dloss.data[0];
      }),
    ],
    edges: [{ length: 300, vocabulary: 5 }, { length: 2, vocabulary: 1031 }, { vocabulary: 50_257 }],
  },
  embedding: {
    instance: ({ batch, length, vocabulary, width }, draw) => ({
      inputs: [
        draw.integers(0, vocabulary - 1, batch, length),
        draw.floats(vocabulary, width),
      ],
    }),
    formula: ([tokens, table]) => [
      tensor64(
        [...tokens.shape, table.shape[1]],
        (b, t, c) => at(table)(at(tokens)(b, t), c),
      ),
    ],
    edges: [{ length: 300, vocabulary: 50 }, { width: 300 }],
  },
  embeddingGradient: {
    instance: ({ batch, length, vocabulary, width }, draw) => ({
      inputs: [draw.integers(0, vocabulary - 1, batch, length), draw.floats(batch, length, width)],
      attributes: { vocabulary },
    }),
    magnitudes: ([, dy]) => [greatestOf(dy) * dy.shape[0] * dy.shape[1]],
    formula([tokens, dy], { vocabulary }) {
      const [batch, length, width] = dy.shape;
      return [
        tensor64(
          [vocabulary, width],
          (token, c) =>
            sum(batch, (b) => sum(length, (t) => at(tokens)(b, t) === token ? at(dy)(b, t, c) : 0)),
        ),
      ];
    },
    // One token everywhere, and many of each.
    edges: [{ length: 300, width: 3 }, { batch: 2, length: 257, vocabulary: 97, width: 33 }, { width: 300 }],
  },
  joinHeads: {
    instance: ({ batch, length, keyValueHeads, half }, draw) => ({
      inputs: [draw.floats(batch, length, keyValueHeads, 2 * half)],
    }),
    formula([x]) {
      const [batch, length, heads, width] = x.shape;
      return [
        tensor64([batch, length, heads * width], (b, t, c) => at(x)(b, t, Math.floor(c / width), c % width)),
      ];
    },
  },
  linear: {
    instance: ({ batch, length, width, outer }, draw) => ({
      inputs: [draw.floats(batch, length, width), draw.floats(outer, width)],
    }),
    magnitudes: ([x, w]) => [greatestOf(x) * greatestOf(w) * w.shape[1]],
    formula: ([x, w]) => [
      tensor64(
        [x.shape[0], x.shape[1], w.shape[0]],
        (b, t, o) => sum(w.shape[1], (i) => at(x)(b, t, i) * at(w)(o, i)),
      ),
    ],
  },
  linearInputGradient: {
    instance: ({ batch, length, width, outer }, draw) => ({
      inputs: [draw.floats(batch, length, outer), draw.floats(outer, width)],
    }),
    magnitudes: ([dy, w]) => [greatestOf(dy) * greatestOf(w) * w.shape[0]],
    formula: ([dy, w]) => [
      tensor64(
        [dy.shape[0], dy.shape[1], w.shape[1]],
        (b, t, i) => sum(w.shape[0], (o) => at(dy)(b, t, o) * at(w)(o, i)),
      ),
    ],
  },
  linearWeightGradient: {
    instance: ({ batch, length, width, outer }, draw) => ({
      inputs: [draw.floats(batch, length, outer), draw.floats(batch, length, width)],
    }),
    magnitudes: ([dy, x]) => [greatestOf(dy) * greatestOf(x) * x.shape[0] * x.shape[1]],
    formula([dy, x]) {
      const [batch, length, outer] = dy.shape;
      return [
        tensor64(
          [outer, x.shape[2]],
          (o, i) => sum(batch, (b) => sum(length, (t) => at(dy)(b, t, o) * at(x)(b, t, i))),
        ),
      ];
    },
  },
  rmsNorm: {
    instance: ({ batch, length, width }, draw) => ({
      inputs: [draw.floats(batch, length, width), draw.floats(width)],
      attributes: { epsilon: 1e-5 },
    }),
    formula([x, gain], { epsilon }) {
      const [batch, length, width] = x.shape;
      const inverse = tensor64([batch, length, 1], (b, t) => {
        const mean = sum(width, (c) => at(x)(b, t, c) ** 2) / width;
        return (mean + epsilon) ** -0.5;
      });
      const r = at(inverse);
      return [
        tensor64(x.shape, (b, t, c) => at(x)(b, t, c) * r(b, t, 0) * at(gain)(c)),
        inverse,
      ];
    },
    edges: [{ width: 33 }, { length: 3, width: 257 }],
  },
  rmsNormGradient: {
    instance(sizes, draw) {
      const { inputs: [x, gain], attributes } = OP_CASES.rmsNorm.instance(sizes, draw);
      const [, inverse] = OP_CASES.rmsNorm.formula([x, gain], attributes as Record<string, number>);
      return { inputs: [x, gain, rounded(inverse), draw.floats(...x.shape)] };
    },
    magnitudes: ([x, gain, inverse, dy]) => {
      const factor = greatestOf(dy) * greatestOf(inverse);
      return [factor * greatestOf(gain), factor * greatestOf(x) * x.shape[0] * x.shape[1]];
    },
    formula([x, gain, inverse, dy]) {
      const [batch, length, width] = x.shape;
      const [X, R, D, G] = [at(x), at(inverse), at(dy), at(gain)];
      // Through the whole Jacobian: ∂(x_j r)/∂x_c = δ_jc r − x_j x_c r³ / C.
      return [
        tensor64(x.shape, (b, t, c) =>
          sum(width, (j) => {
            const r = R(b, t, 0);
            const own = j === c ? r : 0;
            return D(b, t, j) * G(j) * (own - X(b, t, j) * X(b, t, c) * r ** 3 / width);
          })),
        tensor64(
          gain.shape,
          (c) => sum(batch, (b) => sum(length, (t) => D(b, t, c) * X(b, t, c) * R(b, t, 0))),
        ),
      ];
    },
    tolerance: 1e-4,
    edges: [{ width: 33 }, { length: 3, width: 257 }, { batch: 3, length: 91, width: 5 }],
  },
  rope: {
    instance({ batch, length, past, keyValueHeads, half }, draw) {
      const shared = past % 2 === 0;
      // In any order, as those of several texts are that go on in one run; the last one is the greatest.
      const greatest = [5000, 5000, 131_071, 1_000_000_000][past];
      const positions = draw.integers(0, greatest, ...(shared ? [length] : [batch, length]));
      return {
        inputs: [
          draw.floats(batch, length, keyValueHeads * half * 2),
          { shape: positions.shape, data: [...positions.data.slice(1), greatest] },
        ],
        attributes: { heads: keyValueHeads, headWidth: 2 * half, theta: 10000 },
      };
    },
    magnitudes: ([x]) => [greatestOf(x)],
    formula([x, positions], { heads, headWidth, theta }) {
      const [batch, length] = x.shape;
      const half = headWidth / 2;
      const split = reshape(x, batch, length, heads, headWidth);
      // As complex numbers: (first + i second) e^(i angle).
      const turned = tensor64(split.shape, (b, t, h, d) => {
        const position = positions.shape.length === 1 ? at(positions)(t) : at(positions)(b, t);
        const angle = position / theta ** (2 * (d % half) / headWidth);
        const [real, imaginary] = [
          at(split)(b, t, h, d % half),
          at(split)(b, t, h, d % half + half),
        ];
        return d < half
          ? real * Math.cos(angle) - imaginary * Math.sin(angle)
          : real * Math.sin(angle) + imaginary * Math.cos(angle);
      });
      return [reshape(turned, ...x.shape)];
    },
    edges: [{ length: 16, past: 2, keyValueHeads: 2, half: 32 }],
  },
  splitHeads: {
    instance: ({ batch, length, keyValueHeads, half }, draw) => ({
      inputs: [draw.floats(batch, length, keyValueHeads * 2 * half)],
      attributes: { heads: keyValueHeads },
    }),
    formula([x], { heads }) {
      const [batch, length, whole] = x.shape;
      const width = whole / heads;
      return [tensor64([batch, length, heads, width], (b, t, h, d) => at(x)(b, t, h * width + d))];
    },
  },
  sumRows: {
    instance: ({ batch, length, width }, draw) => ({ inputs: [draw.floats(batch, length, width)] }),
    formula([x]) {
      const [batch, length, width] = x.shape;
      return [tensor64([width], (c) => sum(batch, (b) => sum(length, (t) => at(x)(b, t, c))))];
    },
    magnitudes: ([x]) => [greatestOf(x) * x.shape[0] * x.shape[1]],
  },
  swiglu: {
    instance: ({ batch, length, width }, draw) => ({
      inputs: [draw.floats(batch, length, width), draw.floats(batch, length, width)],
    }),
    formula: ([gate, up]) => [
      {
        shape: gate.shape,
        data: gate.data.map((z, i) => z * sigmoid(z) * up.data[i]),
      },
    ],
    edges: [{ length: 33, width: 9 }],
    scales: [1e-6, 1, 1e4, 1e18],
  },
  swigluGradient: {
    instance: ({ batch, length, width }, draw) => ({
      inputs: [
        draw.floats(batch, length, width),
        draw.floats(batch, length, width),
        draw.floats(batch, length, width),
      ],
    }),
    magnitudes: ([, up, dy]) => [greatestOf(dy) * greatestOf(up)],
    formula([gate, up, dy]) {
      const slope = (z: number) => sigmoid(z) + z * sigmoid(z) * sigmoid(-z);
      return [
        { shape: gate.shape, data: gate.data.map((z, i) => dy.data[i] * up.data[i] * slope(z)) },
        { shape: gate.shape, data: gate.data.map((z, i) => dy.data[i] * z * sigmoid(z)) },
      ];
    },
    edges: [{ length: 33, width: 9 }],
  },
  takeLast: {
    instance: ({ batch, length, width }, draw) => ({ inputs: [draw.floats(batch, length, width)] }),
    formula: ([x]) => [
      tensor64([x.shape[0], x.shape[2]], (b, c) => at(x)(b, x.shape[1] - 1, c)),
    ],
    edges: [{ batch: 2, length: 3, width: 300 }],
  },
  takeLastGradient: {
    instance: ({ batch, length, width }, draw) => ({
      inputs: [draw.floats(batch, width), draw.floats(batch, length, width)],
    }),
    formula: ([dy, x]) => [
      tensor64(x.shape, (b, t, c) => t === x.shape[1] - 1 ? at(dy)(b, c) : 0),
    ],
    edges: [{ batch: 2, length: 3, width: 300 }],
  },
  takeRows: {
    instance: ({ batch, length, width }, draw) => ({
      inputs: [draw.floats(1, length, width), draw.integers(0, length - 1, batch)],
    }),
    formula: ([hidden, rows]) => [
      tensor64([1, rows.shape[0], hidden.shape[2]], (_, i, c) => at(hidden)(0, at(rows)(i), c)),
    ],
    edges: [{ batch: 3, length: 5, width: 300 }],
  },
  zeros: {
    instance: ({ batch, width }, draw) => ({ inputs: [draw.floats(batch, width)] }),
    formula: ([like]) => [tensor64(like.shape, () => 0)],
  },
};

/** 0 … count − 1 in any order. */
function shuffled(count: number, draw: Draw): number[] {
  const keys = draw.floats(count).data;
  return Array.from({ length: count }, (_, i) => i).sort((left, right) => keys[left] - keys[right]);
}

function sigmoid(z: number): number {
  return 1 / (1 + Math.exp(-z));
}

function rounded({ shape, data }: Tensor64): Tensor64 {
  return { shape, data: data.map(Math.fround) };
}

function attentionFormula(
  q: Tensor64,
  k: Tensor64,
  v: Tensor64,
  heads: number,
  keyValueHeads: number,
  headWidth: number,
): readonly Tensor64[] {
  const [batch, length] = q.shape;
  const keys = k.shape[1];
  const V = at(reshape(v, batch, keys, keyValueHeads, headWidth));
  const owner = (h: number) => Math.floor(h * keyValueHeads / heads);
  const score = at(attentionScores(q, k, heads, keyValueHeads, headWidth));
  const P = at(attentionProbabilities(q, k, heads, keyValueHeads, headWidth));
  const y = tensor64(
    [batch, length, heads, headWidth],
    (b, t, h, d) => sum(keys, (s) => P(b, h, t, s) * V(b, s, owner(h), d)),
  );
  // By the distance to the score of the query's own position, which it always sees.
  const logSumExp = tensor64([batch, heads, length], (b, h, t) => {
    const own = score(b, h, t, keys - length + t);
    return own + Math.log(sum(keys, (s) => Math.exp(score(b, h, t, s) - own)));
  });
  return [reshape(y, ...q.shape), logSumExp];
}

/** `[B, H, T, S]`, each score's share of its row, by its distance to every other score. */
function attentionProbabilities(
  q: Tensor64,
  k: Tensor64,
  heads: number,
  keyValueHeads: number,
  headWidth: number,
): Tensor64 {
  const scores = attentionScores(q, k, heads, keyValueHeads, headWidth);
  const score = at(scores);
  const keys = k.shape[1];
  return tensor64(scores.shape, (b, h, t, s) => {
    const own = score(b, h, t, s);
    if (own === -Infinity) return 0;
    return 1 / sum(keys, (u) => Math.exp(score(b, h, t, u) - own));
  });
}

/** `[B, H, T, S]`, −∞ where a key is not seen. */
function attentionScores(
  q: Tensor64,
  k: Tensor64,
  heads: number,
  keyValueHeads: number,
  headWidth: number,
): Tensor64 {
  const [batch, length] = q.shape;
  const keys = k.shape[1];
  const Q = at(reshape(q, batch, length, heads, headWidth));
  const K = at(reshape(k, batch, keys, keyValueHeads, headWidth));
  const owner = (h: number) => Math.floor(h * keyValueHeads / heads);
  return tensor64([batch, heads, length, keys], (b, h, t, s) => {
    if (s - (keys - length) > t) return -Infinity;
    return sum(headWidth, (d) => Q(b, t, h, d) * K(b, s, owner(h), d)) / Math.sqrt(headWidth);
  });
}
