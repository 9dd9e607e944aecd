/**
 * From logits to the next token: temperature, top-k, a seed. It computes on
 * plain arrays and draws from the entropy that it is given, so that a prompt, a
 * seed and a state always give the same text.
 */

/** How the next token is chosen. */
export interface Sampling {
  /** Divides the logits. 0 takes the likeliest token and draws nothing. */
  readonly temperature: number;
  /** How many of the likeliest tokens may be drawn; 0 for all of them. */
  readonly topK: number;
}

/**
 * Chooses one token.
 *
 * @param logits `[V]`, natural logarithms up to a constant; −∞ forbids a token.
 * @param uniform draws from [0, 1); called once, and not at all at temperature 0.
 * @returns a token id in `[0, V)`.
 * @throws {TypeError} if `V` is 0, a logit is not a number or +∞, or all are −∞.
 * @throws {RangeError} if the temperature or `topK` is negative or not a number.
 */
export function sampleToken(logits: Float32Array, sampling: Sampling, uniform: () => number): number {
  const { temperature, topK } = sampling;
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new RangeError(`Cannot sample: temperature is ${temperature}, must be a number of at least 0`);
  }
  if (!Number.isInteger(topK) || topK < 0) {
    throw new RangeError(`Cannot sample: topK is ${topK}, must be a whole number of at least 0`);
  }
  const best = likeliest(logits);
  if (temperature === 0) return best;

  const candidates = topK === 0 || topK >= logits.length ? undefined : likeliestTokens(logits, topK);
  const count = candidates?.length ?? logits.length;
  const token = (place: number) => candidates?.[place] ?? place;
  // Relative to the best one no exponential overflows, and their sum is at least 1.
  const weight = (place: number) => Math.exp((logits[token(place)]! - logits[best]!) / temperature);
  let total = 0;
  for (let place = 0; place < count; place++) total += weight(place);

  let rest = uniform() * total;
  for (let place = 0; place < count; place++) {
    rest -= weight(place);
    if (rest < 0) return token(place);
  }
  // Only rounding brings us here.
  return best;
}

function likeliest(logits: Float32Array): number {
  if (logits.length === 0) {
    throw new TypeError("Cannot sample: there are no logits");
  }
  let best = 0;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token]!;
    if (Number.isNaN(logit) || logit === Infinity) {
      throw new TypeError(`Cannot sample: logit of token ${token} is ${logit}`);
    }
    if (logit > logits[best]!) best = token;
  }
  if (logits[best] === -Infinity) {
    throw new TypeError("Cannot sample: every token is forbidden");
  }
  return best;
}

/** The `count` likeliest tokens, likeliest first; of equals the lower id comes first. */
function likeliestTokens(logits: Float32Array, count: number): number[] {
  return Array.from(logits.keys())
    .sort((a, b) => logits[b]! === logits[a]! ? a - b : logits[b]! - logits[a]!)
    .slice(0, count);
}
