/**
 * An engine for tests: says what it is told to say, one byte a token, and keeps
 * account of who is being answered. What it draws depends on the seed where it is
 * told nothing.
 */

import { byteTokenizer } from "../../run/byte_tokenizer.ts";
import { openChatTemplate } from "../../run/chat_template.ts";
import { type DrawnToken, samplingUniform } from "../../run/sampling.ts";
import type { Engine, EngineFigures, Generation, Model } from "../engine.ts";

/** Ends a text; the tokenizer's ids are bytes, and no UTF-8 holds this one. */
export const END_TOKEN = 0xff;

/** Bytes, a small context, the plain chat template. */
export const FAKE_MODEL: Model = {
  id: "fake/bytes",
  createdSeconds: 1_700_000_000,
  contextTokens: 512,
  tokenizer: { ...byteTokenizer, endOfText: [END_TOKEN] },
  chatTemplate: openChatTemplate(undefined),
};

/** What is said: text or ids, of which the last may be {@link END_TOKEN}; or an error. */
export type Reply = string | readonly number[] | Error;

/** Says what `reply` says; where it says nothing, letters that depend on the seed. */
export class FakeEngine implements Engine {
  /** Generations that were asked for, in their order. */
  readonly asked: Generation[] = [];
  /** Those under way. */
  active = 0;
  /** The most that were under way at once. */
  activeMax = 0;
  /** Tokens that were drawn for anybody. */
  drawn = 0;
  repairs = 0;
  trouble: string | undefined;
  reply: (prompt: string, generation: Generation) => Reply | undefined = () => undefined;
  /** Waited for before each token; hears of the signal. */
  pause: (place: number, signal: AbortSignal) => Promise<void> = () => Promise.resolve();
  readonly #models: readonly Model[];
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(models: readonly Model[] = [FAKE_MODEL]) {
    this.#models = models;
  }

  models(): readonly Model[] {
    return this.#models;
  }

  figures(): EngineFigures {
    return { sessions: this.active, repairs: this.repairs, trouble: this.trouble };
  }

  /** Resolves once so many are under way. */
  whenActive(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ count, resolve });
    this.#tell();
    return promise;
  }

  async *generate(generation: Generation, signal: AbortSignal): AsyncGenerator<DrawnToken, void, void> {
    this.asked.push(generation);
    this.active++;
    this.activeMax = Math.max(this.activeMax, this.active);
    this.#tell();
    try {
      yield* this.#say(generation, signal);
    } finally {
      this.active--;
      this.#tell();
    }
  }

  async *#say(generation: Generation, signal: AbortSignal): AsyncGenerator<DrawnToken, void, void> {
    const { prompt, tokensMax, sampling, stopTokens, isLast } = generation;
    const reply = this.reply(byteTokenizer.decode(prompt), generation);
    if (reply instanceof Error) throw reply;
    const ids = typeof reply === "string" ? [...byteTokenizer.encode(reply)] : reply;
    for (let place = 0; place < tokensMax && (ids === undefined || place < ids.length); place++) {
      await this.pause(place, signal);
      signal.throwIfAborted();
      const letter = Math.floor(26 * samplingUniform(sampling, prompt.length + place));
      const token = ids?.[place] ?? 97 + (sampling.temperature === 0 ? 0 : letter);
      this.drawn++;
      const ends = isLast?.(token) || stopTokens.includes(token);
      yield { token, logProbability: -0.5, top: this.#top(token, sampling.topLogProbabilities) };
      if (ends) return;
    }
  }

  #top(token: number, count: number): DrawnToken["top"] {
    return Array.from({ length: count }, (_, rank) => ({
      token: rank === 0 ? token : 0x30 + rank,
      logProbability: rank === 0 ? -0.5 : rank === 1 ? -2 : -Infinity,
    }));
  }

  #tell(): void {
    this.#waiting = this.#waiting.filter(({ count, resolve }) => {
      if (count !== this.active) return true;
      resolve();
      return false;
    });
  }
}

/** Resolves never, unless the signal is aborted: then it rejects. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  if (signal.aborted) reject(signal.reason);
  else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}
