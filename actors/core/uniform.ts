/**
 * From random bits to numbers: the two conversions that every {@link Entropy}
 * shares. Draws nothing itself.
 */

/** Uniform in [0, 1) from two words of 32 random bits, 53 of which count. */
export function uniformFromWords(high: number, low: number): number {
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

/**
 * Uniform integer in [0, bound) from a uniform number in [0, 1).
 * No value is favoured by more than bound ÷ 2⁵³.
 *
 * @throws {RangeError} if `bound` is not an integer from 1 to 2³².
 */
export function integerFromUniform(uniform: number, bound: number): number {
  if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 32) {
    throw new RangeError(`Cannot draw an integer: bound must be from 1 to 2^32, got ${bound}`);
  }
  return Math.floor(uniform * bound);
}
