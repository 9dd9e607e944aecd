/**
 * Square sum of a gradient, for clipping by the norm of the whole model. It is
 * taken on the host, in one order, so that replicas with equal bits report
 * equal sums.
 */

/** Σ x², in float64, from the first element to the last. */
export function squareSum(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return sum;
}
