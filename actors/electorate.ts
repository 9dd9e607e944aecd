/**
 * Whose word makes a step count. An electorate is a handful of the hosts that
 * serve. A coordinator commits a step only with most of the electorate in force,
 * and another takes over only with most of it: so that of two coordinators at
 * once, whatever the network does, at most one commits. An electorate comes into
 * force (is settled) when most of the one before it and most of itself remember
 * it. (Changing the voters while voting: Ongaro and Ousterhout, "In Search of an
 * Understandable Consensus Algorithm", section 6; here hosts take the place of
 * the log's servers.) This file counts; it sends nothing and knows no stage.
 */

import type { PeerId } from "./core/actor.ts";
import { ELECTORATES_MAX } from "./limits.ts";
import type { Electorate } from "./messages.ts";

/** What a host remembers, by its name. */
export type Memories = ReadonlyMap<PeerId, readonly Electorate[]>;

/** Names an electorate. */
type Name = Pick<Electorate, "term" | "number">;

/** Below 0 if `a` was named before `b`. */
export function compareElectorates(a: Name, b: Name): number {
  return a.term - b.term || a.number - b.number;
}

/**
 * What a host remembers once it has heard of an electorate: that one in the place
 * of what it knew of it, nothing that was named before a settled one, and nothing
 * that its own coordinator has named another for in its place.
 */
export function remember(known: readonly Electorate[], heard: Electorate): readonly Electorate[] {
  const before = known.find((one) => compareElectorates(one, heard) === 0);
  const others = known.filter((one) => one !== before && !isReplaced(one, heard));
  const settled = heard.settled || (before?.settled ?? false);
  const [oldest, ...later] = sinceSettled([...others, { ...heard, settled }]);
  return [oldest, ...later.slice(1 - ELECTORATES_MAX)];
}

/** A coordinator that builds on the same electorate again has given up what it named before. */
function isReplaced(one: Electorate, by: Electorate): boolean {
  return !one.settled && one.term === by.term && one.number < by.number &&
    one.after?.term === by.after?.term && one.after?.number === by.after?.number;
}

/** The latest settled one and all that were named after it, in this order. */
function sinceSettled(electorates: readonly Electorate[]): Electorate[] {
  const ordered = [...electorates].sort(compareElectorates);
  return ordered.slice(Math.max(0, ordered.findLastIndex(({ settled }) => settled)));
}

/** Whether these are most of an electorate. Of an even number half is enough with the first of them. */
export function isMajority(electors: readonly PeerId[], isOne: (elector: PeerId) => boolean): boolean {
  const count = electors.filter(isOne).length;
  return 2 * count > electors.length || (2 * count === electors.length && count > 0 && isOne(electors[0]));
}

/**
 * The electorates that may be in force, as far as these hosts know: the latest
 * settled one, and each later one that may have been settled without their
 * hearing of it. One that too few of its own electors, or of those before it, can
 * have remembered never was.
 */
export function inForce(memories: Memories): readonly Electorate[] {
  const all = new Map<string, Electorate>();
  for (const memory of memories.values()) {
    for (const one of memory) {
      const key = keyOf(one);
      if (!all.has(key) || one.settled) all.set(key, one);
    }
  }
  return sinceSettled([...all.values()]).filter((one) => {
    if (one.settled) return true;
    const mayKnow = (elector: PeerId) =>
      memories.get(elector)?.some((known) => compareElectorates(known, one) === 0) ?? true;
    const before = one.after === null ? undefined : all.get(keyOf(one.after));
    return isMajority(one.electors, mayKnow) &&
      (before === undefined || isMajority(before.electors, mayKnow));
  });
}

function keyOf({ term, number }: Name): string {
  return `${term}/${number}`;
}

/** An electorate of which too few are there. */
export interface Shortfall {
  /** Electors that are there. */
  readonly present: number;
  /** Electors in all. */
  readonly size: number;
}

/** The first of the electorates of which these are not most; `undefined` if there is none. */
export function shortfall(
  electorates: readonly Electorate[],
  isPresent: (elector: PeerId) => boolean,
): Shortfall | undefined {
  const short = electorates.find(({ electors }) => !isMajority(electors, isPresent));
  return short && { present: short.electors.filter(isPresent).length, size: short.electors.length };
}
