/**
 * Who is next: for one stage, keeps pace, priority and cool-off of every peer
 * that was announced, and chooses. Time and chance are arguments. It sends
 * nothing, hears only what it is told, and never throws for what it is told.
 */

import type { Announcement } from "./announcement.ts";
import { leastPriority } from "./choice.ts";
import { Cooloff, type Deed } from "./cooloff.ts";
import { Pace, paceOf } from "./pace.ts";

/** Peers that one router keeps. */
export const ROUTER_PEERS_MAX = 256;

/** A peer that was missing in so many findings, and did nothing meanwhile, is forgotten. */
export const ABSENCES_MAX = 10;

/** Whoever says so often in a row that somebody behind it is to blame is to blame. */
export const EXCUSES_MAX = 3;

/** Times that the patience with one peer is doubled. */
const DOUBLINGS_MAX = 4;

/** What newcomers are charged while nobody's pace is known: any equal charge makes them take turns. */
const SECONDS_PER_TOKEN_UNKNOWN = 1e-3;

interface Known {
  readonly peer: string;
  /** Of all samples, time-outs included: what a task is charged. */
  readonly pace: Pace;
  /** Of what it has done: how long it is waited for. */
  readonly usual: Pace;
  readonly cooloff: Cooloff;
  /** Seconds of work given so far, as charged. */
  priority: number;
  /** Work that has not been settled, and what it was charged. */
  openTasks: number;
  openSeconds: number;
  /** Has had no part in the turns since it was last chosen, so that its priority is out of date. */
  stoodAside: boolean;
  /** Of its latest announcement. */
  sequence: number;
  /** Findings in a row in which it was missing. */
  absences: number;
  /** Times since its last success that it put the blame on others, and when it did so last. */
  excuses: number;
  excusedAtMs: number;
}

/** What is to be given away. */
export interface Task {
  /** How large it is: more than 0. */
  readonly tokens: number;
  /** By the same clock in all calls. */
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
  /** The priority of the last that was chosen, when it was. */
  #level = 0;

  /**
   * A router that knows nobody.
   *
   * @param options.uniform draws from [0, 1).
   */
  constructor({ uniform }: { readonly uniform: () => number }) {
    this.#uniform = uniform;
  }

  /** Peers that can be chosen now or later. */
  peers(): readonly string[] {
    return [...this.#known.keys()];
  }

  /** Whether the peer is known. */
  has(peer: string): boolean {
    return this.#known.has(peer);
  }

  /**
   * Who was found. A fresh announcement lifts a cool-off. Nobody found means that
   * finding has failed, rather than that everybody has left at once.
   */
  learn(announcements: readonly Announcement[]): void {
    if (announcements.length === 0) return;
    const found = new Set<string>();
    for (const { peer, sequence } of announcements) {
      found.add(peer);
      const known = this.#known.get(peer) ?? this.#add(peer, sequence);
      if (known === undefined) continue;
      known.absences = 0;
      if (sequence > known.sequence) {
        known.sequence = sequence;
        known.cooloff.lift();
      }
    }
    for (const known of [...this.#known.values()]) {
      if (!found.has(known.peer) && ++known.absences > ABSENCES_MAX) this.#known.delete(known.peer);
    }
  }

  /** Chooses, and charges the chosen for the seconds that the task is expected to take. */
  choose({ tokens, nowMs }: Task): Choice {
    const all = [...this.#known.values()];
    // A stage that is left without peers has no use for long pauses.
    const urgent = all.every(({ cooloff }) => cooloff.isPaused(nowMs));
    const free = all.filter(({ cooloff }) => cooloff.freeAtMs(urgent) <= nowMs);
    this.#catchUp(free);
    const fastest = this.#fastestSecondsPerToken();
    const expected = ({ pace }: Known) => (pace.secondsPerToken ?? fastest) * tokens;
    // What a peer still has to do counts twice: whoever has a queue by now is not given more until it is done.
    const candidates = free.map((known) => ({
      known,
      priority: known.priority + known.openTasks * expected(known),
    }));
    const chosen = leastPriority(candidates, this.#uniform)?.known;
    if (chosen === undefined) {
      const times = all.map(({ cooloff }) => cooloff.freeAtMs(urgent));
      return { peer: undefined, retryAtMs: times.length === 0 ? undefined : Math.min(...times) };
    }
    this.#level = chosen.priority;
    const seconds = expected(chosen);
    chosen.priority += seconds;
    chosen.openTasks++;
    chosen.openSeconds += seconds;
    chosen.cooloff.given(nowMs);
    return { peer: chosen.peer };
  }

  /**
   * Seconds that a peer has usually needed; of one that has done nothing, what the slowest of the others
   * needs, or if none has done anything, `unknownSeconds`. Twice as long for each failure in a row, as it may be slower than anybody thought. Time-outs
   * don't count here: they would make the next one longer and longer.
   */
  usualSeconds(peer: string, tokens: number, unknownSeconds = SECONDS_PER_TOKEN_UNKNOWN * tokens): number {
    const known = this.#known.get(peer);
    if (known === undefined) return 0;
    let { secondsPerToken } = known.usual;
    if (secondsPerToken === undefined) {
      for (const { usual } of this.#known.values()) {
        secondsPerToken = Math.max(secondsPerToken ?? 0, usual.secondsPerToken ?? 0);
      }
    }
    const seconds = secondsPerToken ? secondsPerToken * tokens : unknownSeconds;
    return seconds * 2 ** Math.min(known.cooloff.failures, DOUBLINGS_MAX);
  }

  /** The task was computed in so many seconds. Whether it is a success is another question. */
  settle(peer: string, { tokens, seconds }: { readonly tokens: number; readonly seconds: number }): void {
    const known = this.#known.get(peer);
    if (known === undefined) return;
    this.#sample(known, seconds, tokens);
    this.#closeTask(known);
    known.usual.sample(paceOf(seconds, tokens));
    known.absences = 0;
  }

  /** It did what it was given: failures are forgotten, if they were of this kind or a lesser one. */
  succeeded(peer: string, deed: Deed): void {
    const known = this.#known.get(peer);
    known?.cooloff.success(deed);
    if (known !== undefined && deed === "returned") known.excuses = 0;
  }

  /** Nothing was heard for so long: that is a sample, and a failure of all that it was given. */
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
    this.#sample(known, waitedSeconds, tokens);
    this.#fail(known, nowMs, waitedSeconds * 1000, "computed");
  }

  /** It computed, and what should have come back from it after that was waited for in vain for so long. */
  unreturned(peer: string, { waitedMs, nowMs }: { readonly waitedMs: number; readonly nowMs: number }): void {
    const known = this.#known.get(peer);
    if (known !== undefined) this.#fail(known, nowMs, waitedMs, "returned");
  }

  /** It may be to blame for something: it is given nothing until that is known, or until then. */
  suspect(peer: string, untilMs: number): void {
    this.#known.get(peer)?.cooloff.suspect(untilMs);
  }

  /**
   * It has said that somebody behind it was waited for. That is believed, but not always.
   * Walks that were waited for at the same time are one excuse.
   */
  excused(peer: string, { waitedMs, nowMs }: { readonly waitedMs: number; readonly nowMs: number }): void {
    const known = this.#known.get(peer);
    if (known === undefined) return;
    known.cooloff.clear();
    if (nowMs - known.excusedAtMs < waitedMs) return;
    known.excusedAtMs = nowMs;
    if (++known.excuses < EXCUSES_MAX) return;
    known.excuses = 0;
    this.#fail(known, nowMs, waitedMs, "returned");
  }

  /** It could not be reached, or is gone, and with it all that it was given. */
  failed(peer: string, nowMs: number): void {
    const known = this.#known.get(peer);
    if (known !== undefined) this.#fail(known, nowMs, 0, "computed");
  }

  /** A task was taken back. What was charged for it is given back. */
  withdrawn(peer: string): void {
    const known = this.#known.get(peer);
    if (known !== undefined) this.#giveBack(known);
  }

  /** It has no room until then: not a failure. What was charged for the task is given back. */
  refused(peer: string, retryAtMs: number): void {
    const known = this.#known.get(peer);
    if (known === undefined) return;
    this.#giveBack(known);
    known.cooloff.refused(retryAtMs);
    known.stoodAside = true;
  }

  /** Drops what is known of a peer. */
  forget(peer: string): void {
    this.#known.delete(peer);
  }

  /** Makes room at the cost of whoever has failed most; whoever works doesn't make way for a stranger. */
  #add(peer: string, sequence: number): Known | undefined {
    if (this.#known.size >= ROUTER_PEERS_MAX) {
      const worst = [...this.#known.values()].reduce((one, other) =>
        other.cooloff.failures > one.cooloff.failures ? other : one
      );
      if (worst.cooloff.failures === 0) return undefined;
      this.#known.delete(worst.peer);
    }
    const known: Known = {
      peer,
      pace: new Pace(),
      usual: new Pace(),
      cooloff: new Cooloff(),
      priority: 0,
      openTasks: 0,
      openSeconds: 0,
      stoodAside: true,
      sequence,
      absences: 0,
      excuses: 0,
      excusedAtMs: -Infinity,
    };
    this.#known.set(peer, known);
    return known;
  }

  /**
   * Whoever comes, or comes back, starts level with the least charged of the others: it is
   * tried at once, and not flooded to make up for the time that it was not there.
   */
  #catchUp(free: readonly Known[]): void {
    let least = Infinity;
    for (const { stoodAside, priority } of free) if (!stoodAside) least = Math.min(least, priority);
    const level = least === Infinity ? this.#level : least;
    for (const known of free) {
      if (known.stoodAside) known.priority = Math.max(known.priority, level);
      known.stoodAside = false;
    }
  }

  /** What is expected of those who have done nothing yet. */
  #fastestSecondsPerToken(): number {
    let fastest = Infinity;
    for (const { pace } of this.#known.values()) {
      fastest = Math.min(fastest, pace.secondsPerToken ?? Infinity);
    }
    return fastest === Infinity ? SECONDS_PER_TOKEN_UNKNOWN : fastest;
  }

  /**
   * One sample moves the pace, and so what is charged from now on. What was charged stays: a single
   * wait in a queue that others have filled would keep everybody away for as long, all at once.
   */
  #sample(known: Known, seconds: number, tokens: number): void {
    // What was charged before anything was known was a guess.
    if (known.pace.secondsPerToken === undefined) {
      known.priority -= known.openSeconds;
      known.openSeconds = 0;
    }
    known.pace.sample(paceOf(seconds, tokens));
  }

  /** What else it was given goes to others, and is not charged. */
  #fail(known: Known, nowMs: number, wastedMs: number, owes: Deed): void {
    known.priority -= known.openSeconds;
    known.openTasks = known.openSeconds = 0;
    known.cooloff.clear();
    known.cooloff.failure(nowMs, wastedMs, owes);
    known.stoodAside = true;
  }

  /** One open task was done, or taken back; which one makes no difference in sum. @returns what it was charged. */
  #closeTask(known: Known): number {
    if (known.openTasks === 0) return 0;
    const charged = known.openSeconds / known.openTasks;
    known.openTasks--;
    known.openSeconds -= charged;
    return charged;
  }

  #giveBack(known: Known): void {
    known.priority -= this.#closeTask(known);
  }
}
