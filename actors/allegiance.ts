/**
 * Whom a host follows. A host promises itself to one coordinator at a time, under
 * a term that only rises: an order under an older term is refused for good. While
 * its coordinator is heard of (the lease), no other can win it over, so that
 * nobody takes over from a coordinator that is well. It sends nothing and keeps
 * no time of its own.
 */

import type { PeerId } from "./core/actor.ts";
import { compareElectorates, remember } from "./electorate.ts";
import type { Electorate, MessageOf } from "./messages.ts";

/** What must survive the host's process: a promise that is forgotten can be broken. */
export interface Pledge {
  /** The highest term that was ever promised; 0 before the first. */
  readonly term: number;
  /** To whom. */
  readonly leader: PeerId | null;
  /** Electorates that this host has been told of: of old ones nothing is kept. */
  readonly electorates: readonly Electorate[];
}

/** The name of the latest electorate, as a hello tells it. */
export function latestOf(electorates: readonly Electorate[]): MessageOf<"hello">["latest"] {
  const latest = electorates.at(-1);
  return latest === undefined ? null : { term: latest.term, number: latest.number, settled: latest.settled };
}

/** The promises of one host. */
export class Allegiance {
  readonly #leaseMs: number;
  #pledge: Pledge;
  #leaseEndsMs = -Infinity;

  /** @param leaseMs silence of a coordinator after which another may win the host over. */
  constructor(leaseMs: number, pledge: Pledge = { term: 0, leader: null, electorates: [] }) {
    this.#leaseMs = leaseMs;
    this.#pledge = pledge;
  }

  /** The promise in force. */
  get pledge(): Pledge {
    return this.#pledge;
  }

  /** The coordinator that is followed and has been heard of. */
  leader(nowMs: number): PeerId | undefined {
    return nowMs < this.#leaseEndsMs ? this.#pledge.leader ?? undefined : undefined;
  }

  /** Whether an order comes from where it has to. If so, the lease begins anew. */
  obeys(from: PeerId, term: number, nowMs: number): boolean {
    if (from !== this.#pledge.leader || term !== this.#pledge.term) return false;
    this.#leaseEndsMs = nowMs + this.#leaseMs;
    return true;
  }

  /** Promises itself, if it is free to. */
  promise(to: PeerId, term: number, nowMs: number): boolean {
    const { leader } = this.#pledge;
    if (term <= this.#pledge.term) return false;
    if (leader !== to && this.leader(nowMs) !== undefined) return false;
    this.#pledge = { ...this.#pledge, term, leader: to };
    this.#leaseEndsMs = nowMs + this.#leaseMs;
    return true;
  }

  /**
   * The coordinator is gone, or gives up: whoever asks next under a higher term may win.
   *
   * @returns whether a lease has ended with it.
   */
  release(from: PeerId, nowMs: number): boolean {
    if (from !== this.leader(nowMs)) return false;
    this.#leaseEndsMs = -Infinity;
    return true;
  }

  /** Remembers electorates. @returns whether that is news. */
  remember(electorates: readonly Electorate[]): boolean {
    const before = this.#pledge.electorates;
    const after = electorates.reduce(remember, before);
    this.#pledge = { ...this.#pledge, electorates: after };
    return before.length !== after.length ||
      before.some((one, index) =>
        compareElectorates(one, after[index]) !== 0 || one.settled !== after[index].settled
      );
  }
}
