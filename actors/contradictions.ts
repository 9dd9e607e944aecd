/**
 * Which host a step goes on without when two contradict each other, or one
 * contradicts itself, round after round. Once may be a mishap. Of two that
 * contradict each other the one goes that had to do with more others before, and
 * of equals the one that is accused: so a host that accuses falsely costs one
 * other its place, and with the second its own. It counts; it sends nothing.
 */

import type { PeerId } from "./core/actor.ts";

/** Hosts whose quarrels are remembered: each took a round that was lost, so that few ever have any. */
const QUARRELLERS_MAX = 256;

/** What somebody denies. */
export interface Contradiction {
  /** Who is said to be wrong. */
  readonly accused: PeerId;
  /** Who says so, or whose words do: perhaps the accused itself. */
  readonly accuser: PeerId;
  /** What it is about: each thing counts by itself. */
  readonly about: string;
  /** Of the step. Several in one round are one mishap. */
  readonly round: number;
}

/** Contradictions of one step, and quarrels of earlier ones. */
export class Contradictions {
  #ofStep: Contradiction[] = [];
  /** Those of which one was left out, and with whom each was. */
  readonly #quarrels = new Map<PeerId, Set<PeerId>>();

  /** Another step begins. */
  clear(): void {
    this.#ofStep = [];
  }

  /** What was said of this host, and by it, is forgotten until it is said again in this step. */
  forget(peer: PeerId): void {
    this.#ofStep = this.#ofStep.filter(({ accused, accuser }) => accused !== peer && accuser !== peer);
  }

  /**
   * Hears of one.
   *
   * @param roundsMax rounds of a step in which it has to be heard before somebody is left out.
   * @returns who is left out now.
   */
  add(heard: Contradiction, roundsMax: number): PeerId | undefined {
    const { accused, accuser, about, round } = heard;
    const before = this.#ofStep.filter((it) => it.accused === accused && it.about === about);
    if (before.some((it) => it.accuser === accuser && it.round === round)) return undefined;
    this.#ofStep.push(heard);
    const all = [...before, heard];
    if (new Set(all.map(({ round }) => round)).size < roundsMax) return undefined;
    for (const { accuser } of all) if (accuser !== accused) this.#quarrel(accused, accuser);
    const out = this.#quarrelsOf(accuser) > this.#quarrelsOf(accused) ? accuser : accused;
    this.forget(out);
    return out;
  }

  #quarrelsOf(peer: PeerId): number {
    return this.#quarrels.get(peer)?.size ?? 0;
  }

  #quarrel(one: PeerId, other: PeerId): void {
    for (const [peer, opponent] of [[one, other], [other, one]]) {
      const opponents = this.#quarrels.get(peer) ?? new Set();
      if (opponents.size < QUARRELLERS_MAX) opponents.add(opponent);
      this.#quarrels.set(peer, opponents);
    }
    for (const oldest of this.#quarrels.keys()) {
      if (this.#quarrels.size <= QUARRELLERS_MAX) break;
      this.#quarrels.delete(oldest);
    }
  }
}
