/**
 * Asks hosts how far away they are and how they do, every so often, and keeps who
 * has answered when. It draws no conclusions: those are for whoever is told.
 */

import type { Context, PeerId } from "./core/actor.ts";
import { PROBE_PERIOD_MS } from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import type { HostAnswer } from "../routing/mod.ts";

/** Questions to one host that may be answered still: it may be asked again before it has answered. */
const QUESTIONS_MAX = 8;

interface Probed {
  /** When each question was asked that is not answered, by its name; the latest stands last. */
  readonly questions: Map<number, number>;
  /** The latest. */
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

  /** Asks now, unless it was asked in this very moment. */
  ask(peer: PeerId): void {
    const nowMs = this.#context.clock.nowMs();
    const probed = this.#hosts.get(peer) ??
      { questions: new Map<number, number>(), askedAtMs: -Infinity, answeredAtMs: -Infinity, answers: 0 };
    this.#hosts.set(peer, probed);
    if (probed.askedAtMs === nowMs) return;
    const nonce = this.#context.entropy.integer(2 ** 32);
    const { questions } = probed;
    probed.askedAtMs = nowMs;
    questions.set(nonce, nowMs);
    if (questions.size > QUESTIONS_MAX) questions.delete(questions.keys().next().value!);
    this.#context.tell({ peer, actor: "host" }, { kind: "probe", nonce });
  }

  /** When it answered last; −∞ if never. */
  answeredAtMs(peer: PeerId): number {
    return this.#hosts.get(peer)?.answeredAtMs ?? -Infinity;
  }

  /** An answer. One that nobody has asked for, or that has come already, is no news. */
  answered(from: PeerId, { nonce, stage, step, secondsPerToken, roomTokens }: MessageOf<"probed">): void {
    const probed = this.#hosts.get(from);
    const askedAtMs = probed?.questions.get(nonce);
    if (probed === undefined || askedAtMs === undefined) return;
    const nowMs = this.#context.clock.nowMs();
    const roundTripMs = nowMs - askedAtMs;
    probed.questions.delete(nonce);
    Object.assign(probed, { answeredAtMs: nowMs, answers: probed.answers + 1 });
    this.#onAnswer(from, { roundTripMs, stage, step, secondsPerToken, roomTokens });
    // The first had to wait for the connection to be made.
    if (probed.answers === 1) this.ask(from);
  }
}
