/**
 * Chance that is the same on every machine: a random word is a pure function of
 * a key and a counter, so any peer can draw the n-th one without the ones
 * before. Only 32-bit integer arithmetic; it is no source of secrets.
 *
 * The function is Philox 4×32 with ten rounds: J. K. Salmon, M. A. Moraes,
 * R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011, section 3.3.
 */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** What a draw is for. Draws for one purpose never meet those for another. */
export const Purpose = { training: 0, validation: 1, initialisation: 2, sampling: 3 } as const;
/** One of them. */
export type Purpose = typeof Purpose[keyof typeof Purpose];

/**
 * Four random words.
 *
 * @param key two 32-bit words.
 * @param counter four 32-bit words.
 * @param into receives the words; give the same array again to allocate nothing.
 */
export function philox(
  key: readonly [number, number],
  counter: readonly [number, number, number, number],
  into: Uint32Array = new Uint32Array(4),
): Uint32Array {
  let [key0, key1] = key;
  let [a, b, c, d] = counter;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = highWord(MULTIPLIER_0, a);
    const high1 = highWord(MULTIPLIER_1, c);
    const low0 = Math.imul(MULTIPLIER_0, a);
    const low1 = Math.imul(MULTIPLIER_1, c);
    a = high1 ^ b ^ key0;
    b = low1;
    c = high0 ^ d ^ key1;
    d = low0;
    key0 = (key0 + WEYL_0) | 0;
    key1 = (key1 + WEYL_1) | 0;
  }
  into[0] = a;
  into[1] = b;
  into[2] = c;
  into[3] = d;
  return into;
}

/**
 * Uniform integer in [0, bound), from 53 random bits: the bias is below
 * bound / 2⁵³.
 *
 * @param seed of the run, 32 bits.
 * @param place three 32-bit numbers that name the draw: step, micro-batch, row, say.
 */
export function drawInteger(
  seed: number,
  purpose: Purpose,
  place: readonly [number, number, number],
  bound: number,
): number {
  const words = philox([seed, purpose], [...place, 0]);
  return Math.floor(unitInterval(words[0], words[1]) * bound);
}

/** Number in [0, 1) from the upper 53 bits of two words. */
export function unitInterval(high: number, low: number): number {
  return ((high >>> 0) * 0x20_0000 + (low >>> 11)) / 2 ** 53;
}

/** Upper 32 bits of the product of two unsigned 32-bit words. */
function highWord(x: number, y: number): number {
  const xLow = x & 0xffff, xHigh = x >>> 16;
  const yLow = y & 0xffff, yHigh = y >>> 16;
  const middle = xHigh * yLow + ((xLow * yLow) >>> 16);
  const carry = xLow * yHigh + (middle & 0xffff);
  return (xHigh * yHigh + Math.floor(middle / 0x1_0000) + Math.floor(carry / 0x1_0000)) | 0;
}
