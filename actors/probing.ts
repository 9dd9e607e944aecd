/**
 * Asks hosts how far away they are and how they do, every so often, and keeps who
 * has answered when. It draws no conclusions: those are for whoever is told.
 */

import type { Context, PeerId } from "./core/actor.ts";
import { PROBE_PERIOD_MS } from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import type { HostAnswer } from "../routing/mod.ts";

interface Probed {
  /** What the latest question is called, and when it was asked. */
  nonce: number;
  askedAtMs: number;
  answeredAtMs: number;
  answers: number;
}

/** The questions of one home. */
export class Probing {
  readonly #context: Context<Message>;
  readonly #onAnswer: (peer: PeerId, answer: HostAnswer) => void;
  readonly #hosts = new Map<PeerId, Probed>();

  constructor(context: Context<Message>, onAnswer: (peer: PeerId, answer: HostAnswer) => void) {
    this.#context = context;
    this.#onAnswer = onAnswer;
  }

  /** These are the hosts: those who have not been asked lately are asked, and others are forgotten. */
  watch(peers: readonly PeerId[]): void {
    const wanted = new Set(peers);
    for (const peer of [...this.#hosts.keys()]) if (!wanted.has(peer)) this.#hosts.delete(peer);
    const nowMs = this.#context.clock.nowMs();
    for (const peer of peers) {
      if (nowMs - (this.#hosts.get(peer)?.askedAtMs ?? -Infinity) >= PROBE_PERIOD_MS) this.ask(peer);
    }
  }

  /** Asks now. An earlier question is not waited for any more. */
  ask(peer: PeerId): void {
    const nonce = this.#context.entropy.integer(2 ** 32);
    const probed = this.#hosts.get(peer) ?? { nonce, askedAtMs: 0, answeredAtMs: -Infinity, answers: 0 };
    this.#hosts.set(peer, Object.assign(probed, { nonce, askedAtMs: this.#context.clock.nowMs() }));
    this.#context.tell({ peer, actor: "host" }, { kind: "probe", nonce });
  }

  /** When it answered last; −∞ if never. */
  answeredAtMs(peer: PeerId): number {
    return this.#hosts.get(peer)?.answeredAtMs ?? -Infinity;
  }

  /** An answer. One that nobody has asked for, or that has come already, is no news. */
  answered(from: PeerId, { nonce, stage, step, secondsPerToken, roomTokens }: MessageOf<"probed">): void {
    const probed = this.#hosts.get(from);
    if (probed === undefined || probed.nonce !== nonce) return;
    const nowMs = this.#context.clock.nowMs();
    const roundTripMs = nowMs - probed.askedAtMs;
    Object.assign(probed, { nonce: -1, answeredAtMs: nowMs, answers: probed.answers + 1 });
    this.#onAnswer(from, { roundTripMs, stage, step, secondsPerToken, roomTokens });
    // The first had to wait for the connection to be made.
    if (probed.answers === 1) this.ask(from);
  }
}
