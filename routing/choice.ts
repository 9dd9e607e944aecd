/**
 * Interleaved weighted round robin (SWARM, Ryabinin et al. 2023, algorithm 1):
 * each peer has a priority, the sum of the seconds that it has been given. The
 * peer with the least is next, so that fast peers are chosen in proportion to
 * their speed. Equals are drawn by lot.
 */

/** Somebody who can be chosen. */
export interface Candidate {
  /** Seconds of work given so far. */
  priority: number;
}

/**
 * The candidate with the least priority.
 *
 * @param uniform draws from [0, 1).
 */
export function leastPriority<C extends Candidate>(
  candidates: Iterable<C>,
  uniform: () => number,
): C | undefined {
  let best: C | undefined;
  let equals = 0;
  for (const candidate of candidates) {
    if (best === undefined || candidate.priority < best.priority) {
      best = candidate;
      equals = 1;
    } else if (candidate.priority === best.priority && uniform() * ++equals < 1) best = candidate;
  }
  return best;
}
