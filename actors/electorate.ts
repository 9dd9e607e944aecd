/**
 * Whose word makes a step count. A coordinator may only commit a step with a
 * majority of the last electorate, and another may only take over with one:
 * so that of two coordinators at once, whatever the network does, at most one
 * commits. Electorates follow each other, and each is settled by a majority of
 * the one before and of itself (joint consensus; Ongaro and Ousterhout, "In
 * Search of an Understandable Consensus Algorithm", section 6, with the hosts in
 * the place of the log's servers). This file counts; it sends nothing and knows no stage.
 */

import { ELECTORATES_MAX } from "./limits.ts";
import type { Electorate } from "./messages.ts";

/** Below 0 if `a` came before `b`. */
export function compareElectorates(
  a: Pick<Electorate, "term" | "number">,
  b: Pick<Electorate, "term" | "number">,
): number {
  return a.term - b.term || a.number - b.number;
}

/**
 * What a host remembers once it has heard of an electorate: that one in the place
 * of what it knew of it, and nothing that came before a settled one.
 */
export function remember(known: readonly Electorate[], heard: Electorate): readonly Electorate[] {
  const before = known.find((one) => compareElectorates(one, heard) === 0);
  const others = known.filter((one) => one !== before);
  const all = [...others, { ...heard, settled: heard.settled || (before?.settled ?? false) }];
  return relevant(all).sort(compareElectorates).slice(-ELECTORATES_MAX);
}

/** The latest settled one, and all that came after it. */
function relevant(electorates: readonly Electorate[]): Electorate[] {
  const settled = electorates.filter((one) => one.settled).sort(compareElectorates).at(-1);
  return electorates.filter((one) => settled === undefined || compareElectorates(one, settled) >= 0);
}

/** An electorate of which too few are there. */
export interface Shortfall {
  readonly present: number;
  readonly size: number;
}

/**
 * Whether those who are there may speak for everybody.
 *
 * @param memories of each host that is there, the electorates that it belongs to.
 * @param known electorates that are known of otherwise: perhaps nobody of them is there.
 * @returns the electorate that is furthest from its majority; `undefined` if all that matter have one.
 */
export function shortfall(
  memories: Iterable<readonly Electorate[]>,
  known: Iterable<Electorate> = [],
): Shortfall | undefined {
  const tallies = new Map<string, { electorate: Electorate; present: number; casting: boolean }>();
  const tallyOf = (electorate: Electorate) => {
    const key = `${electorate.term}/${electorate.number}`;
    const tally = tallies.get(key) ?? { electorate, present: 0, casting: false };
    tallies.set(key, tally);
    if (electorate.settled) tally.electorate = electorate;
    return tally;
  };
  for (const electorate of known) tallyOf(electorate);
  for (const memory of memories) {
    for (const electorate of memory) {
      const tally = tallyOf(electorate);
      tally.present++;
      tally.casting ||= electorate.casting;
    }
  }
  const needed = new Set(relevant([...tallies.values()].map(({ electorate }) => electorate)));
  let worst: Shortfall | undefined;
  for (const { electorate, present, casting } of tallies.values()) {
    const { size } = electorate;
    if (!needed.has(electorate) || 2 * present > size || (2 * present === size && casting)) continue;
    if (worst === undefined || size - 2 * present > worst.size - 2 * worst.present) worst = { present, size };
  }
  return worst;
}
