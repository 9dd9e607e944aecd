/**
 * How much a swarm did beside the best that the hosts alive at each moment could
 * have done: an ideal assignment of them to the stages, that takes no time to
 * change, and no time between steps. It measures and judges nothing.
 */

/** Work of hosts at one moment. */
export interface ThroughputPoint {
  readonly atMs: number;
  /** Hosts that are up. */
  readonly alive: number;
  /** Hosts of each stage that take in work. */
  readonly serving: readonly number[];
  /** Micro-batches per second that the slowest stage could do. */
  readonly assigned: number;
  /** The most that the hosts alive could do, were they assigned at best. */
  readonly best: number;
  /** Micro-batches of all steps applied so far. */
  readonly applied: number;
}

/** What of the best was reached, as shares of 1; `NaN` while there was no time to measure. */
export interface ThroughputShares {
  /** Micro-batches that were applied. */
  readonly applied: number;
  /** What the slowest stage could have done: how well the hosts were spread. */
  readonly assigned: number;
}

/** Shares over the points from `fromMs` on; each point stands for the time until the next. */
export function sharesOf(points: readonly ThroughputPoint[], fromMs = 0): ThroughputShares {
  const taken = points.filter(({ atMs }) => atMs >= fromMs);
  let best = 0;
  let assigned = 0;
  for (let index = 0; index + 1 < taken.length; index++) {
    const seconds = (taken[index + 1].atMs - taken[index].atMs) / 1000;
    best += taken[index].best * seconds;
    assigned += taken[index].assigned * seconds;
  }
  const applied = taken.length === 0 ? 0 : taken.at(-1)!.applied - taken[0].applied;
  return { applied: best > 0 ? applied / best : NaN, assigned: best > 0 ? assigned / best : NaN };
}

/**
 * What hosts of these speeds could do in a pipeline of equal stages, were they
 * assigned well: the fastest first, each to the stage that has least.
 *
 * @param speeds micro-batches per second of each.
 */
export function bestRate(speeds: readonly number[], stages: number): number {
  if (speeds.length < stages) return 0;
  const equal = speeds.every((speed) => speed === speeds[0]);
  if (equal) return Math.floor(speeds.length / stages) * speeds[0];
  const sums = new Array<number>(stages).fill(0);
  for (const speed of speeds.toSorted((one, other) => other - one)) {
    sums[sums.indexOf(Math.min(...sums))] += speed;
  }
  return Math.min(...sums);
}
