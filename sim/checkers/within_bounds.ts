/** The promise: nothing that waits grows beyond its bound: mailboxes, walks that a host keeps, timers of the world. */

import type { PeerId } from "../../actors/core/actor.ts";
import { HELD_WALKS_MAX, MAILBOX_MESSAGES_MAX } from "../../actors/limits.ts";
import type { Report } from "./checker.ts";

/** Timers that a peer may have on the mean: a few of its own, and those of the frames that fly to it. */
const TIMERS_PER_PEER_MAX = 512;

/** What one peer has waiting. */
export interface Load {
  readonly peer: PeerId;
  /** Messages by actor. */
  readonly mailboxes: Readonly<Record<string, number>>;
  /** Micro-batches that its stage keeps for their way back; 0 if it has none. */
  readonly kept: number;
}

/** Looks at samples. */
export class WithinBounds {
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  /** All peers at one moment, and the timers that wait in the whole world. */
  sampled(loads: readonly Load[], timers: number): void {
    for (const { peer, mailboxes, kept } of loads) {
      for (const [actor, waiting] of Object.entries(mailboxes)) {
        this.#compare(`the mailbox of ${actor} of ${peer}`, waiting, MAILBOX_MESSAGES_MAX);
      }
      this.#compare(`what the stage of ${peer} keeps`, kept, HELD_WALKS_MAX);
    }
    this.#compare("the list of timers", timers, TIMERS_PER_PEER_MAX * Math.max(1, loads.length));
  }

  #compare(what: string, found: number, bound: number): void {
    if (found <= bound) return;
    this.#report({ checker: "within bounds", words: `${what} holds ${found}, at most ${bound}` });
  }
}
