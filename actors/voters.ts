/**
 * The electorates of one coordinator's term, and those that it found in force: who
 * has to agree before a step is committed, and who takes the place of those that
 * go. What an electorate is, `electorate.ts` says. It sends nothing, and is told
 * who serves and who remembers what.
 */

import type { PeerId } from "./core/actor.ts";
import { compareElectorates, inForce, type Memories, type Shortfall, shortfall } from "./electorate.ts";
import { ELECTORS_MAX } from "./limits.ts";
import type { Electorate } from "./messages.ts";

/** Whose word makes the steps of one coordinator count. See the head of the file. */
export class Voters {
  /** Of this term: the one in force, then the one that is to follow it. */
  #electorates: readonly Electorate[] = [];
  /** Of earlier terms: these may be in force until one of this term is. */
  #inherited: readonly Electorate[] = [];
  /** What is missing for a quorum of the hosts that serve, until either changes. */
  #shortOf: { readonly reason: string | null } | undefined;

  /** Those of this term, for hosts that don't remember them. */
  get named(): readonly Electorate[] {
    return this.#electorates;
  }

  /** What most have to agree with before a step is committed. */
  get inForce(): readonly Electorate[] {
    return this.#electorates[0]?.settled ? this.#electorates.slice(0, 1) : this.#inherited;
  }

  /** Everybody that any of them names. */
  get electors(): readonly PeerId[] {
    return [...this.inForce, ...this.#electorates].flatMap(({ electors }) => electors);
  }

  /** Another term begins: nothing is named in it. */
  clear(): void {
    this.#electorates = [];
    this.#shortOf = undefined;
  }

  /** What was in force before this term, as hosts remember it. */
  inherit(memories: Memories): void {
    this.#inherited = inForce(memories);
  }

  /** Who serves has changed. */
  recount(): void {
    this.#shortOf = undefined;
  }

  /** Why the hosts that serve may not commit anything, in words; `null` if they may. */
  lacks(serves: (peer: PeerId) => boolean): string | null {
    this.#shortOf ??= { reason: this.shortfall(serves) };
    return this.#shortOf.reason;
  }

  /** Why these hosts could not commit anything, in words; `null` if they could. */
  shortfall(isPresent: (peer: PeerId) => boolean): string | null {
    return inWords(shortfall(this.inForce, isPresent));
  }

  /** Whether a host that remembers this one as the latest has heard of all. */
  isKnownTo(latest: Pick<Electorate, "term" | "number" | "settled"> | null): boolean {
    const named = this.#electorates.at(-1);
    return named === undefined ||
      (latest !== null && compareElectorates(latest, named) === 0 && latest.settled === named.settled);
  }

  /**
   * Settles the one that was named last, once most of it and of the one before remember it.
   *
   * @param latestOf the latest that a host remembers.
   * @returns whether it is settled only now.
   */
  settle(latestOf: (peer: PeerId) => Pick<Electorate, "term" | "number"> | null | undefined): boolean {
    const next = this.#electorates.at(-1);
    if (next === undefined || next.settled) return false;
    const remembers = (peer: PeerId) => {
      const latest = latestOf(peer);
      return latest != null && compareElectorates(latest, next) === 0;
    };
    if (shortfall([...this.inForce, next], remembers) !== undefined) return false;
    this.#electorates = [{ ...next, settled: true }];
    this.#shortOf = undefined;
    return true;
  }

  /**
   * Keeps the electors that stay, and fills their ranks from the others that do.
   *
   * @param staying hosts that serve and go on serving, those that came first in front.
   * @returns whether that makes another electorate, which was named now.
   */
  name(term: number, staying: readonly PeerId[]): boolean {
    const last = this.#electorates.at(-1);
    const kept = (last?.electors ?? []).filter((peer) => staying.includes(peer));
    const electors = [...kept, ...staying.filter((peer) => !kept.includes(peer))].slice(0, ELECTORS_MAX);
    if (electors.length === 0 || last?.electors.join() === electors.join()) return false;
    const settled = this.#electorates.filter((it) => it.settled);
    const before = this.inForce.find((it) => it.settled) ?? this.inForce[0];
    // In the place of one that was named and not settled: nobody can have relied on that.
    this.#electorates = [...settled, {
      term,
      number: Math.max(0, ...[...this.inForce, ...this.#electorates].map(({ number }) => number)) + 1,
      electors,
      after: before === undefined ? null : { term: before.term, number: before.number },
      settled: false,
    }];
    return true;
  }
}

function inWords(short: Shortfall | undefined): string | null {
  if (short === undefined) return null;
  return `${short.present} of the ${short.size} hosts that vouch for its steps are there, and without most of ` +
    "them another coordinator might go on as well; if they are gone for good, train --resume --without-quorum";
}
