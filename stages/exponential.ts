/**
 * e to numbers that are not positive, for softmaxes over large vocabularies: by
 * two tables and a short polynomial, several times as fast as `Math.exp`, and
 * the same on every machine. It is not for numbers above 0.
 */

/** Steps of the table between two powers of 2. */
const STEPS = 1024;
const STEP = Math.LN2 / STEPS;
const FRACTIONS = Float64Array.from({ length: STEPS }, (_, step) => 2 ** (step / STEPS));
/** 2 to the minus index, down to the least number above 0. */
const POWERS = Float64Array.from({ length: 1076 }, (_, power) => 2 ** -power);

/**
 * @param x at most 0.
 * @returns eˣ, to a relative error of 1e-11; 0 where it is less than can be told from 0.
 */
export function exponential(x: number): number {
  if (!(x > -745)) return 0;
  const steps = (x * (1 / STEP)) | 0;
  const rest = x - steps * STEP;
  return POWERS[-(steps >> 10)] * FRACTIONS[steps & (STEPS - 1)] *
    (1 + rest * (1 + rest * (1 / 2 + rest / 6)));
}
