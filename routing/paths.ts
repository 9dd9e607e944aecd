/**
 * Which hosts a text goes through: keeps who serves sessions at each stage, what
 * they have room for, who has failed, and how many texts each has of this home, and
 * chooses the cheapest path there is now of those that are hardly slower than the quickest. Time and chance are arguments. It sends
 * nothing, and measures nothing: see `latency.ts`.
 */

import type { Announcement } from "./announcement.ts";
import { Cooloff } from "./cooloff.ts";
import { Latency } from "./latency.ts";
import { cheapPath, type PricedHost } from "./cheap_path.ts";
import { ABSENCES_MAX, ROUTER_PEERS_MAX } from "./router.ts";

/** Hosts of each stage that a path is chosen from: the nearest and quickest. Work grows with its square. */
export const PATH_CANDIDATES_MAX = 32;

/** A host that was just found is asked how far away it is; so long it is not taken without an answer. */
export const FIRST_ANSWER_MS_MAX = 500;

/** When nobody has room and nobody has said when that ends, it is looked at again after so long. */
const ROOM_RETRY_MS = 1000;

/** What a path is wanted for. */
export interface PathWish {
  /** Tokens of which every stage has to keep something. */
  readonly tokens: number;
  /** By the same clock in all calls. */
  readonly nowMs: number;
}

/** A path, or why there is none now. */
export type PathChoice =
  | { readonly kind: "path"; readonly path: readonly string[] }
  /** Nobody is known who serves this stage. */
  | { readonly kind: "noHosts"; readonly stage: number }
  /** Those who are known have no room, or failed a moment ago, or have not been asked yet how far they are. */
  | {
    readonly kind: "wait";
    readonly stage: number;
    readonly for: "room" | "recovery" | "answer";
    readonly retryAtMs: number;
  };

/** What a host says when it is asked. */
export interface HostAnswer {
  /** From asking to the answer. */
  readonly roundTripMs: number;
  /** That it serves; `null` if none. */
  readonly stage: number | null;
  /** Steps that its weights have taken. */
  readonly step: number;
  /** For one token of one text; `null` if it can't tell. */
  readonly secondsPerToken: number | null;
  /** Tokens that it has room for. */
  readonly roomTokens: number;
}

/** What a home's paths are made of. */
export interface PathsOptions {
  readonly stages: number;
  /** Draws from [0, 1): equals are drawn by lot. */
  readonly uniform: () => number;
  /** Hosts that want more for a token are passed over. Default: any price will do. */
  readonly priceUnitsMax?: number;
}

interface Known {
  readonly peer: string;
  readonly stage: number;
  readonly foundAtMs: number;
  readonly cooloff: Cooloff;
  /** Of its latest announcement. */
  sequence: number;
  step: number;
  trains: boolean;
  /** As it said last, less what it was given since. */
  roomTokens: number;
  /** For a token. */
  priceUnits: number;
  /** Texts that it has of this home. */
  texts: number;
  /** Nothing has been heard of it since its connection broke. */
  lost: boolean;
  /** Findings in a row in which it was missing. */
  absences: number;
}

/** The paths of one home. */
export class Paths {
  readonly #uniform: () => number;
  readonly #priceUnitsMax: number;
  readonly #stages: readonly Map<string, Known>[];
  readonly #latency = new Latency();

  /**
   * Paths of a home that knows nobody.
   *
   * @param options see there.
   */
  constructor({ stages, uniform, priceUnitsMax = Infinity }: PathsOptions) {
    this.#priceUnitsMax = priceUnitsMax;
    this.#stages = Array.from({ length: stages }, () => new Map());
    this.#uniform = uniform;
  }

  /** Hosts that are known of each stage, and were not lost. */
  get hosts(): readonly number[] {
    return this.#stages.map((known) => [...known.values()].filter(({ lost }) => !lost).length);
  }

  /** Everybody who is known. */
  peers(): readonly string[] {
    return this.#stages.flatMap((known) => [...known.keys()]);
  }

  /** Milliseconds until a token comes back after so many new ones were sent, with all texts that its hosts have. */
  usualMs(path: readonly string[], tokens: number): number {
    const texts = Math.max(1, ...this.#known(path).map(({ texts }) => texts));
    return texts * this.#latency.expectedMs(path, tokens);
  }

  // --- who is there ---------------------------------------------------------------------------------

  /** Who was found at a stage. Nobody found means that finding has failed, rather than that everybody has left. */
  learn(stage: number, announcements: readonly Announcement[], nowMs: number): void {
    const all = this.#stages[stage];
    if (all === undefined || announcements.length === 0) return;
    const found = new Set<string>();
    for (const { peer, sequence, step, trains, sessionRoom, priceUnits: price = "0" } of announcements) {
      const priceUnits = Number(price);
      if (priceUnits > this.#priceUnitsMax) continue;
      const known = all.get(peer) ?? this.#add(peer, stage, sequence, nowMs);
      if (known === undefined) continue;
      found.add(peer);
      known.absences = 0;
      if (sequence <= known.sequence) continue;
      Object.assign(known, { sequence, step, trains, roomTokens: sessionRoom, priceUnits, lost: false });
      known.cooloff.lift();
    }
    for (const known of [...all.values()]) {
      if (!found.has(known.peer) && ++known.absences > ABSENCES_MAX) this.#drop(known);
    }
  }

  /** A host has said how it is. */
  answered(peer: string, { roundTripMs, stage, step, secondsPerToken, roomTokens }: HostAnswer): void {
    const known = this.#find(peer);
    if (known === undefined) return;
    // It serves another stage by now, or none. Who looks for that one will find it.
    if (stage !== known.stage) return this.#drop(known);
    this.#latency.answered(peer, roundTripMs);
    if (secondsPerToken !== null) this.#latency.told(peer, secondsPerToken);
    Object.assign(known, { step, roomTokens, lost: false });
  }

  // --- the choice -----------------------------------------------------------------------------------

  /** The cheapest path that is free now, and hardly slower than the quickest. It is taken with {@link begun}. */
  choose({ tokens, nowMs }: PathWish): PathChoice {
    const free: Known[][] = [];
    for (const [stage, known] of this.#stages.entries()) {
      const hosts = [...known.values()];
      if (hosts.length === 0) return { kind: "noHosts", stage };
      const one = this.#freeOf(stage, hosts, { tokens, nowMs });
      if (!Array.isArray(one)) return one;
      free.push(one);
    }
    const candidates = this.#ofOneStep(free).map((hosts) => this.#shortlist(hosts));
    const path = cheapPath(candidates, (from, to) => this.#latency.linkMs(from?.peer, to?.peer));
    return { kind: "path", path: path.map(({ peer }) => peer) };
  }

  #freeOf(stage: number, hosts: readonly Known[], { tokens, nowMs }: PathWish): Known[] | PathChoice {
    const here = hosts.filter(({ lost }) => !lost);
    const roomy = (here.length > 0 ? here : hosts).filter(({ roomTokens }) => roomTokens >= tokens);
    if (roomy.length === 0) return { kind: "wait", stage, for: "room", retryAtMs: nowMs + ROOM_RETRY_MS };
    // A stage that is left without hosts has no use for long pauses.
    const urgent = roomy.every(({ cooloff }) => cooloff.isPaused(nowMs));
    const free = roomy.filter(({ cooloff }) => cooloff.freeAtMs(urgent) <= nowMs);
    if (free.length === 0) {
      const retryAtMs = Math.min(...roomy.map(({ cooloff }) => cooloff.freeAtMs(urgent)));
      const full = roomy.every(({ cooloff }) => cooloff.failures === 0);
      return { kind: "wait", stage, for: full ? "room" : "recovery", retryAtMs };
    }
    const answered = free.filter(({ peer, foundAtMs }) =>
      this.#latency.knows(peer) || nowMs - foundAtMs >= FIRST_ANSWER_MS_MAX
    );
    if (answered.length > 0) return answered;
    const retryAtMs = Math.min(...free.map(({ foundAtMs }) => foundAtMs)) + FIRST_ANSWER_MS_MAX;
    return { kind: "wait", stage, for: "answer", retryAtMs };
  }

  /** Hosts of the newest step at which every stage has one; if there is none, the newest of each stage. */
  #ofOneStep(stages: readonly Known[][]): readonly Known[][] {
    // Those who train take every step together, and what they said of it is seconds old.
    const trained = Math.max(0, ...stages.flat().map(({ trains, step }) => trains ? step : 0));
    const stepOf = ({ trains, step }: Known) => trains ? trained : step;
    const steps = stages.map((hosts) => new Set(hosts.map(stepOf)));
    const common = [...steps[0]].filter((step) => steps.every((all) => all.has(step)));
    const newest = common.length > 0
      ? steps.map(() => Math.max(...common))
      : steps.map((all) => Math.max(...all));
    return stages.map((hosts, stage) => hosts.filter((host) => stepOf(host) === newest[stage]));
  }

  /** With what a token of one more text takes there. Each text that a host has makes it slower for the next one. */
  #shortlist(hosts: readonly Known[]): readonly PricedHost[] {
    const weighed = hosts.map(({ peer, texts, priceUnits }) => {
      const stepMs = this.#latency.stepMs(peer) * (texts + 1);
      return {
        peer,
        stepMs,
        priceUnits,
        ms: stepMs + this.#latency.linkMs(undefined, peer),
        lot: this.#uniform(),
      };
    });
    return weighed.sort((a, b) => a.ms - b.ms || a.lot - b.lot).slice(0, PATH_CANDIDATES_MAX);
  }

  // --- what becomes of it ---------------------------------------------------------------------------

  /** A text of so many tokens takes this path. */
  begun(path: readonly string[], tokens: number, nowMs: number): void {
    for (const known of this.#known(path)) {
      known.texts++;
      known.roomTokens -= tokens;
      known.cooloff.given(nowMs);
    }
  }

  /** It has left the path again, so many tokens long. */
  ended(path: readonly string[], tokens: number): void {
    for (const known of this.#known(path)) {
      known.texts = Math.max(0, known.texts - 1);
      known.roomTokens += tokens;
    }
  }

  /** A token came back. */
  passed(
    path: readonly string[],
    measured: { readonly tokens: number; readonly totalMs: number; readonly spentMs: readonly number[] },
  ): void {
    const known = this.#known(path);
    for (const { cooloff } of known) if (cooloff.failures > 0) cooloff.success("computed");
    if (known.length < path.length) return;
    this.#latency.passed({ ...measured, path, sharing: known.map(({ texts }) => texts) });
  }

  /** Its connection broke, or could not be made: it is taken again once it is heard of, or if there is nobody else. */
  lost(peer: string, nowMs: number): void {
    const known = this.#find(peer);
    if (known === undefined) return;
    known.lost = true;
    known.cooloff.failure(nowMs);
  }

  /** It failed. @param wastedMs that were waited for it in vain. */
  failed(peer: string, nowMs: number, wastedMs = 0): void {
    this.#find(peer)?.cooloff.failure(nowMs, wastedMs);
  }

  /** It has no room until then: not a failure. */
  refused(peer: string, retryAtMs: number): void {
    this.#find(peer)?.cooloff.refused(retryAtMs);
  }

  #known(path: readonly string[]): Known[] {
    return path.flatMap((peer, stage) => this.#stages[stage]?.get(peer) ?? []);
  }

  #find(peer: string): Known | undefined {
    for (const known of this.#stages) if (known.has(peer)) return known.get(peer);
    return undefined;
  }

  /** Whoever works doesn't make way for a stranger. */
  #add(peer: string, stage: number, sequence: number, nowMs: number): Known | undefined {
    const before = this.#find(peer);
    // It has moved; or somebody else's record is late.
    if (before !== undefined && before.sequence > sequence) return undefined;
    if (before !== undefined) this.#drop(before);
    const all = this.#stages[stage];
    if (all.size >= ROUTER_PEERS_MAX) {
      const worst = [...all.values()].reduce((one, other) =>
        other.cooloff.failures > one.cooloff.failures ? other : one
      );
      if (worst.cooloff.failures === 0) return undefined;
      this.#drop(worst);
    }
    const known: Known = {
      peer,
      stage,
      foundAtMs: nowMs,
      cooloff: new Cooloff(),
      sequence: -1,
      step: 0,
      trains: false,
      roomTokens: 0,
      priceUnits: 0,
      texts: 0,
      lost: false,
      absences: 0,
    };
    all.set(peer, known);
    return known;
  }

  #drop({ peer, stage }: Known): void {
    this.#stages[stage].delete(peer);
    this.#latency.forget(peer);
  }
}
