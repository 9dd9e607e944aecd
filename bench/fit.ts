/** A straight line through points, by least squares. */

/** `y = offset + slope · x`. */
export interface Line {
  readonly slope: number;
  readonly offset: number;
}

/** The line with the least squares of vertical distances; NaN where the points don't make one out. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): Line {
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  let covariance = 0;
  let variance = 0;
  for (const [x, y] of points) {
    covariance += (x - meanX) * (y - meanY);
    variance += (x - meanX) ** 2;
  }
  const slope = covariance / variance;
  return { slope, offset: meanY - slope * meanX };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
