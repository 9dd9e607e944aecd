/**
 * Clipping by the norm of the whole model's mean gradient, from sums alone:
 * stages report square sums, and nobody needs to see a gradient.
 */

/** How the summed gradient of a step is to be scaled. */
export interface UpdateScale {
  /** Factor on the gradient *sum*: clipping ÷ tokens. */
  readonly scale: number;
  /** Norm of the mean gradient before clipping. */
  readonly gradientNorm: number;
}

/**
 * How to scale a step's gradient sum: by its tokens, and down to the bound on its norm.
 *
 * @param squareSum of the elements of the summed gradient, over all stages.
 * @param tokens that the sum counts; at least 1.
 * @param clipNorm bound on the norm of the mean; 0 switches clipping off.
 * @throws {RangeError} if the square sum is not finite or negative, or `tokens` no positive integer.
 */
export function updateScale(squareSum: number, tokens: number, clipNorm: number): UpdateScale {
  if (!Number.isFinite(squareSum) || squareSum < 0) {
    throw new RangeError(`Cannot scale an update: square sum of the gradient is ${squareSum}`);
  }
  if (!Number.isSafeInteger(tokens) || tokens < 1) {
    throw new RangeError(`Cannot scale an update: it counts ${tokens} tokens`);
  }
  const gradientNorm = Math.sqrt(squareSum) / tokens;
  const clipping = clipNorm > 0 && gradientNorm > clipNorm ? clipNorm / gradientNorm : 1;
  return { scale: clipping / tokens, gradientNorm };
}
