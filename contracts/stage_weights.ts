/**
 * How much of a model's work each of its stages is, in the whole ten-thousandths
 * that the registry counts in. It doesn't know what work is.
 */

const WHOLE_BPS = 10_000;

/**
 * Shares of stages whose work is given in any unit; they add up to 10,000, and none is 0.
 *
 * @throws {RangeError} if there are no stages, more than 10,000, or one without work.
 */
export function stageWeights(work: readonly number[]): number[] {
  const count = work.length;
  if (count === 0 || count > WHOLE_BPS || !work.every((it) => Number.isFinite(it) && it > 0)) {
    throw new RangeError(`Cannot weigh ${count} stages: their work is ${work.slice(0, 8).join(", ")}`);
  }
  const total = work.reduce((sum, it) => sum + it, 0);
  // One each, and the rest by work; what rounding leaves goes to those that it cost most.
  const exact = work.map((it) => 1 + (it / total) * (WHOLE_BPS - count));
  const shares = exact.map(Math.floor);
  const left = WHOLE_BPS - shares.reduce((sum, it) => sum + it, 0);
  const order = exact.map((_, stage) => stage).sort((a, b) => (exact[b] % 1) - (exact[a] % 1) || a - b);
  for (const stage of order.slice(0, left)) shares[stage]++;
  return shares;
}
