/**
 * What a home sends to hosts within one turn, host by host: several texts' tokens
 * to one host go in one frame. It knows neither paths nor texts.
 */

import type { Context, PeerId } from "./core/actor.ts";
import { SESSION_PARTS_MAX } from "./limits.ts";
import type { Message, SessionPart } from "./messages.ts";
import { inFrames } from "./session_frames.ts";

/** Tokens of one session that are to be sent. */
export interface OutgoingPart extends Omit<SessionPart, "count" | "spentMs"> {
  /** The new ones. They must not change. */
  readonly tokens: Int32Array;
}

/** The mail of one turn. */
export class SessionMail {
  readonly #context: Context<Message>;
  readonly #extends = new Map<PeerId, OutgoingPart[]>();
  readonly #ends = new Map<PeerId, string[]>();

  constructor(context: Context<Message>) {
    this.#context = context;
  }

  /** Has stage 0 continue a text. */
  extend(to: PeerId, part: OutgoingPart): void {
    const parts = this.#extends.get(to);
    if (parts === undefined) this.#extends.set(to, [part]);
    else parts.push(part);
  }

  /** Tells a host that a session is over. */
  end(to: PeerId, session: string): void {
    const sessions = this.#ends.get(to);
    if (sessions === undefined) this.#ends.set(to, [session]);
    else sessions.push(session);
  }

  /**
   * Sends all of it.
   *
   * @returns hosts that take nothing now, each with the sessions that it should have continued.
   */
  send(): ReadonlyMap<PeerId, readonly string[]> {
    const unsent = new Map<PeerId, string[]>();
    for (const [peer, sessions] of this.#ends) {
      for (let from = 0; from < sessions.length; from += SESSION_PARTS_MAX) {
        const some = sessions.slice(from, from + SESSION_PARTS_MAX);
        // Whoever does not hear of it forgets them after a while.
        this.#context.tell({ peer, actor: "host" }, { kind: "endSessions", sessions: some });
      }
    }
    for (const [peer, parts] of this.#extends) {
      for (const some of inFrames(parts, ({ opening }) => ({ opening, spentMs: [] }))) {
        if (this.#extend(peer, some)) continue;
        unsent.set(peer, [...unsent.get(peer) ?? [], ...some.map(({ session }) => session)]);
      }
    }
    this.#ends.clear();
    this.#extends.clear();
    return unsent;
  }

  #extend(peer: PeerId, parts: readonly OutgoingPart[]): boolean {
    const length = parts.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const data = new Int32Array(length);
    let at = 0;
    const named = parts.map(({ tokens, ...part }): SessionPart => {
      data.set(tokens, at);
      at += tokens.length;
      return { ...part, count: tokens.length, spentMs: [] };
    });
    return this.#context.tell({ peer, actor: "host" }, {
      kind: "extend",
      stage: 0,
      parts: named,
      tokens: { dataType: "i32", shape: [length], data },
    });
  }
}
