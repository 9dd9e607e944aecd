/**
 * What hosts can offer of each stage, as they say it: which states, of which
 * steps, and what led to them. From it follows where a run can go on. It believes
 * what it is given, and chooses nothing.
 */

import type { Hello } from "./coordination_events.ts";
import type { Update } from "./messages.ts";

/** A host, as far as its offers go. */
export interface Offerer {
  readonly stage: number;
  readonly hello: Hello;
}

/** Of one stage: step → state hash → how many have it. */
export type Offers = ReadonlyMap<number, ReadonlyMap<string, number>>;

/** What these hosts offer, by stage. */
export function offersOf(stages: number, hosts: readonly Offerer[]): readonly Offers[] {
  const offers = Array.from({ length: stages }, () => new Map<number, Map<string, number>>());
  for (const { stage, hello } of hosts) {
    const states = [...hello.snapshots];
    if (hello.stateHash !== null) states.push({ step: hello.step, stateHash: hello.stateHash });
    for (const { step, stateHash } of states) {
      const hashes = offers[stage].get(step) ?? new Map<string, number>();
      hashes.set(stateHash, (hashes.get(stateHash) ?? 0) + 1);
      offers[stage].set(step, hashes);
    }
  }
  return offers;
}

/** The latest step of which every stage is on offer. */
export function newestCommon(offers: readonly Offers[]): number | undefined {
  return [...offers[0].keys()].filter((step) => offers.every((offer) => offer.has(step)))
    .sort((one, other) => other - one).at(0);
}

/** A state, and what led to it. */
export interface Latest {
  readonly update: Update;
  readonly stateHash: string;
}

/**
 * Of a stage's states of one step, the one that was applied last: on one side of a cut some hosts may have
 * applied what nobody could commit any more.
 */
export function latestApplied(hosts: readonly Offerer[], stage: number, step: number): Latest | undefined {
  let latest: Latest | undefined;
  for (const { stage: of, hello: { step: at, stateHash, report } } of hosts) {
    const update = report?.applied;
    if (of !== stage || at !== step || stateHash === null || update == null) continue;
    const { term, round } = update.total;
    const before = latest?.update.total;
    const after = before === undefined ? 1 : term - before.term || round - before.round;
    if (after > 0) latest = { update, stateHash };
  }
  return latest;
}

/** A host that holds a total, and what says that it may be applied. */
export interface Applicable<Host> {
  readonly host: Host;
  readonly update: Update;
}

/**
 * Hosts that hold the total of an all-reduce which another has applied: that proves that they may, whatever
 * became of the coordinator that said so.
 */
export function applicable<Host extends Offerer>(hosts: readonly Host[]): readonly Applicable<Host>[] {
  const name = (step: number, { term, round }: Update["total"]) => `${step}/${term}/${round}`;
  const proofs = new Map<string, Update>();
  for (const { hello } of hosts) {
    const applied = hello.report?.applied;
    if (applied != null) proofs.set(name(hello.step - 1, applied.total), applied);
  }
  return hosts.flatMap((host) => {
    const held = host.hello.report?.total;
    const update = held == null ? undefined : proofs.get(name(host.hello.step, held));
    return update === undefined ? [] : [{ host, update }];
  });
}

/** The key with the highest count; of equals the first: that of whoever has been there longest. */
export function mostCommon(counts: ReadonlyMap<string, number>): string {
  return [...counts].reduce((most, next) => next[1] > most[1] ? next : most)[0];
}
