/**
 * Who is next: for one stage, keeps pace, priority and cool-off of every peer
 * that was announced, and chooses. Time and chance are arguments. It sends
 * nothing and hears only what it is told.
 */

import type { Announcement } from "./announcement.ts";
import { leastPriority } from "./choice.ts";
import { Cooloff } from "./cooloff.ts";
import { Pace } from "./pace.ts";

/** Peers that one router keeps. */
export const ROUTER_PEERS_MAX = 256;

/** A peer that was found so often not to be announced any more is forgotten. */
const ABSENCES_MAX = 10;

interface Known {
  readonly peer: string;
  readonly pace: Pace;
  readonly cooloff: Cooloff;
  /** Seconds charged for work that has not been settled, in the order in which it was given. */
  readonly charges: number[];
  priority: number;
  sequence: number;
  absences: number;
}

/** What is to be given away. */
export interface Task {
  readonly tokens: number;
  readonly nowMs: number;
}

/** Who gets it, or when to ask again; neither if nobody is known. */
export type Choice =
  | { readonly peer: string }
  | { readonly peer: undefined; readonly retryAtMs: number | undefined };

/** The router of one sender to one stage. */
export class Router {
  readonly #uniform: () => number;
  readonly #known = new Map<string, Known>();

  constructor({ uniform }: { readonly uniform: () => number }) {
    this.#uniform = uniform;
  }

  /** Peers that can be chosen now or later. */
  peers(): readonly string[] {
    return [...this.#known.keys()];
  }

  has(peer: string): boolean {
    return this.#known.has(peer);
  }

  /**
   * Who was found. A newcomer starts level with the least charged, so that it is
   * tried at once without being flooded. A fresh announcement lifts a cool-off.
   */
  learn(announcements: readonly Announcement[]): void {
    const found = new Set(announcements.map(({ peer }) => peer));
    for (const { peer, sequence } of announcements) {
      const known = this.#known.get(peer);
      if (known === undefined) {
        this.#add(peer, sequence);
        continue;
      }
      known.absences = 0;
      if (sequence > known.sequence) {
        known.sequence = sequence;
        if (known.cooloff.failed) known.cooloff.lift();
      }
    }
    for (const known of [...this.#known.values()]) {
      if (!found.has(known.peer) && ++known.absences > ABSENCES_MAX) this.#known.delete(known.peer);
    }
  }

  #add(peer: string, sequence: number): void {
    if (this.#known.size >= ROUTER_PEERS_MAX) return;
    let least = Infinity;
    for (const { priority } of this.#known.values()) least = Math.min(least, priority);
    this.#known.set(peer, {
      peer,
      pace: new Pace(),
      cooloff: new Cooloff(),
      charges: [],
      priority: least === Infinity ? 0 : least,
      sequence,
      absences: 0,
    });
  }

  /** Chooses, and charges the chosen for the seconds that the task is expected to take. */
  choose({ tokens, nowMs }: Task): Choice {
    const known = [...this.#known.values()];
    let awake = known.filter(({ cooloff }) => cooloff.untilMs <= nowMs);
    // A stage that is left without peers has no use for pauses after failures.
    if (awake.length === 0 && known.every(({ cooloff }) => cooloff.failed)) awake = known;
    const chosen = leastPriority(awake, this.#uniform);
    if (chosen === undefined) {
      // Those that are only busy are worth waiting for.
      const times = known.filter(({ cooloff }) => !cooloff.failed).map(({ cooloff }) => cooloff.untilMs);
      return { peer: undefined, retryAtMs: times.length === 0 ? undefined : Math.min(...times) };
    }
    const charge = this.#expected(chosen, tokens);
    chosen.priority += charge;
    chosen.charges.push(charge);
    return { peer: chosen.peer };
  }

  /** Seconds that a peer is expected to need; of one that nobody has tried, what the others need. */
  expectedSeconds(peer: string, tokens: number): number {
    const known = this.#known.get(peer);
    return known === undefined ? 0 : this.#expected(known, tokens);
  }

  #expected({ pace }: Known, tokens: number): number {
    if (pace.known) return pace.secondsPerToken * tokens;
    let fastest = Infinity;
    for (const other of this.#known.values()) {
      if (other.pace.known) fastest = Math.min(fastest, other.pace.secondsPerToken);
    }
    // While nobody is known, any equal charge makes newcomers take turns.
    return (fastest === Infinity ? 1e-3 : fastest) * tokens;
  }

  /** The task was done in so many seconds: they replace what was charged. */
  settle(peer: string, { tokens, seconds }: { readonly tokens: number; readonly seconds: number }): void {
    const known = this.#known.get(peer);
    if (known === undefined) return;
    known.pace.sample(seconds, tokens);
    known.cooloff.success();
    this.#replaceCharge(known, Number.isFinite(seconds) && seconds >= 0 ? seconds : 0);
  }

  /** Nothing was heard for so long: that is a sample, and a failure. */
  timedOut(
    peer: string,
    { tokens, waitedSeconds, nowMs }: {
      readonly tokens: number;
      readonly waitedSeconds: number;
      readonly nowMs: number;
    },
  ): void {
    const known = this.#known.get(peer);
    if (known === undefined) return;
    known.pace.sample(waitedSeconds, tokens);
    this.#replaceCharge(known, waitedSeconds);
    known.cooloff.failure(nowMs);
  }

  /** It could not be reached, or is gone. */
  failed(peer: string, nowMs: number): void {
    const known = this.#known.get(peer);
    if (known === undefined) return;
    for (const charge of known.charges.splice(0)) known.priority -= charge;
    known.cooloff.failure(nowMs);
  }

  /** It has no room until then: not a failure. What was charged for the task is given back. */
  refused(peer: string, retryAtMs: number): void {
    const known = this.#known.get(peer);
    if (known === undefined) return;
    this.#replaceCharge(known, 0);
    known.cooloff.refused(retryAtMs);
  }

  forget(peer: string): void {
    this.#known.delete(peer);
  }

  #replaceCharge(known: Known, seconds: number): void {
    const charged = known.charges.shift();
    if (charged !== undefined) known.priority += seconds - charged;
  }
}
