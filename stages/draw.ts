/**
 * From logits to the next token. It draws no chance: the uniform number is
 * given, so that the same text, wish and model yield the same token again. It
 * sorts nothing, since a vocabulary may have hundreds of thousands of tokens.
 *
 * The order: repetition penalty, presence and frequency penalties, bias,
 * temperature, top-k, and top-p of what is left then.
 */

import type { DrawnToken, Sampling } from "../run/mod.ts";
import { exponential } from "./exponential.ts";
import type { Draw } from "./sessions.ts";

/**
 * Chooses one token.
 *
 * @param logits `[V]`, finite; natural logarithms up to a constant. V is at least 1.
 * @param draw as `samplingSchema` admits it; tokens that the model does not know have no effect.
 * @returns a token below V, and below `sampling.vocabulary` if that is not 0.
 */
export function drawToken(logits: Float32Array, draw: Draw): DrawnToken {
  const { sampling } = draw;
  const own = logits.subarray(0, sampling.vocabulary === 0 ? logits.length : sampling.vocabulary);
  const best = likeliest(own);
  const wished = adjusted(own, draw);
  const favourite = wished === own ? best : likeliest(wished);
  const token = sampling.temperature === 0
    ? favourite
    : drawOne(weightsOf(wished, wished[favourite], sampling), draw.uniform);

  const normaliser = logSumExp(own, own[best]);
  const told = (token: number) => ({ token, logProbability: own[token] - normaliser });
  return { ...told(token), top: likeliestTokens(own, sampling.topLogProbabilities).map(told) };
}

/** Penalties and bias; the logits themselves where there are none. */
function adjusted(own: Float32Array, { sampling, text, promptTokens }: Draw): Float32Array {
  const { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias } = sampling;
  const added = presencePenalty !== 0 || frequencyPenalty !== 0;
  if (repetitionPenalty === 1 && !added && logitBias.length === 0) return own;

  const result = own.slice();
  const change = (token: number, change: (logit: number) => number) => {
    if (token < result.length) {
      result[token] = Math.min(Math.max(change(result[token]), -LARGEST), LARGEST);
    }
  };
  if (repetitionPenalty !== 1) {
    for (const token of new Set(text)) {
      change(token, (logit) => logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty);
    }
  }
  if (added) {
    for (const [token, times] of countsOf(text.subarray(promptTokens))) {
      change(token, (logit) => logit - presencePenalty - frequencyPenalty * times);
    }
  }
  for (const { token, bias } of logitBias) change(token, (logit) => logit + bias);
  return result;
}

/** Of f32. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

function countsOf(tokens: Int32Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
  return counts;
}

/** How likely each token is to be drawn, up to a factor; 0 for those that temperature, top-k or top-p rule out. */
function weightsOf(
  wished: Float32Array,
  greatest: number,
  { temperature, topK, topP }: Sampling,
): Float64Array {
  const weights = new Float64Array(wished.length).fill(1);
  const keys = topK > 0 || topP < 1 ? keysOf(wished) : undefined;
  if (keys && topK > 0 && topK < wished.length) cut(keys, weights, topK);

  // Relative to the greatest no exponential overflows, and their sum is at least 1.
  let total = 0;
  for (let token = 0; token < weights.length; token++) {
    if (weights[token] === 0) continue;
    total += weights[token] = exponential((wished[token] - greatest) / temperature);
  }
  if (keys && topP < 1) cut(keys, weights, topP * total);
  return weights;
}

/**
 * Walks over the tokens by their ids: tokens that are nearly equal don't swap places where logits differ
 * by rounding.
 */
function drawOne(weights: Float64Array, uniform: number): number {
  let total = 0;
  for (const weight of weights) total += weight;
  let rest = uniform * total;
  let last = 0;
  for (let token = 0; token < weights.length; token++) {
    if (weights[token] === 0) continue;
    last = token;
    rest -= weights[token];
    if (rest < 0) break;
  }
  // Rounding may leave something over: the draw was as good as 1.
  return last;
}

/** Integers in the order of these numbers. */
function keysOf(numbers: Float32Array): Uint32Array {
  const bits = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  const keys = new Uint32Array(numbers.length);
  for (let index = 0; index < keys.length; index++) {
    const word = bits[index] === SIGN ? 0 : bits[index]; // −0 is no less than 0
    keys[index] = word >= SIGN ? ~word : word | SIGN;
  }
  return keys;
}

const SIGN = 0x8000_0000;

/** Bits of a key that one pass looks at, and those below them. */
const PASSES = [{ bits: 11, below: 21 }, { bits: 11, below: 10 }, { bits: 10, below: 0 }] as const;

/**
 * Leaves the tokens of the greatest keys their weight, as many as together reach `share`, and takes it
 * from all others. Of equals the first are left. One pass over the tokens for each digit of the key finds
 * the last that is left.
 */
function cut(keys: Uint32Array, weights: Float64Array, share: number): void {
  let missing = share;
  let last = 0;
  let settled = 0;
  for (const { bits, below } of PASSES) {
    const sums = new Float64Array(2 ** bits);
    const digits = sums.length - 1;
    for (let token = 0; token < keys.length; token++) {
      const key = keys[token];
      if (((key ^ last) & settled) === 0) sums[(key >>> below) & digits] += weights[token];
    }
    let digit = digits;
    while (digit > 0 && sums[digit] < missing) missing -= sums[digit--];
    last = (last | (digit << below)) >>> 0;
    settled |= digits << below;
  }
  for (let token = 0; token < keys.length; token++) {
    if (keys[token] === last && missing > 0) missing -= weights[token];
    else if (keys[token] <= last) weights[token] = 0;
  }
}

/** The first of the greatest. */
function likeliest(logits: Float32Array): number {
  let best = 0;
  let greatest = logits[0];
  for (let token = 1; token < logits.length; token++) {
    if (logits[token] > greatest) greatest = logits[best = token];
  }
  return best;
}

/** The `count` greatest, greatest first; of equals the first. */
function likeliestTokens(logits: Float32Array, count: number): number[] {
  const found: number[] = [];
  for (let token = 0; token < logits.length && count > 0; token++) {
    if (found.length === count && !(logits[token] > logits[found[count - 1]])) continue;
    let place = found.length;
    while (place > 0 && logits[token] > logits[found[place - 1]]) place--;
    found.splice(place, 0, token);
    if (found.length > count) found.pop();
  }
  return found;
}

function logSumExp(logits: Float32Array, greatest: number): number {
  let sum = 0;
  for (let token = 0; token < logits.length; token++) sum += exponential(logits[token] - greatest);
  return greatest + Math.log(sum);
}
