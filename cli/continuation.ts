/**
 * Goes on with a text token by token, also beyond what the model can see at once:
 * when its reach is full the text goes on from its latter half. It knows no
 * network; whoever calls says who continues texts.
 */

import type { Generates } from "../actors/generation.ts";
import type { DrawnToken, Sampling } from "../run/mod.ts";

/** What to go on with, and how. */
export interface Continuation {
  readonly source: Generates;
  /** Token ids, at least one. */
  readonly prompt: readonly number[];
  /** Tokens to add, at most. */
  readonly tokensMax: number;
  /** Tokens that the model sees at once, at least two. */
  readonly contextTokens: number;
  /** The token that opens whatever the model sees, if the prompt has it. */
  readonly beginOfText?: number;
  readonly sampling: Sampling;
  /** The first of these is the last token. */
  readonly stopTokens: readonly number[];
  readonly signal?: AbortSignal;
}

const SEEDS = 2 ** 32;

/**
 * Yields the tokens that follow.
 *
 * @throws whatever the source throws.
 */
export async function* continueTokens(continuation: Continuation): AsyncGenerator<DrawnToken, void, void> {
  const { source, prompt, tokensMax, contextTokens, sampling, stopTokens, signal } = continuation;
  const text = [...prompt];
  const half = Math.floor(contextTokens / 2);
  const opening = half > 1 && prompt[0] === continuation.beginOfText ? prompt.slice(0, 1) : [];
  const tokens = prompt.length + tokensMax;
  for (let part = 0; text.length < tokens; part++) {
    const seen = text.length < contextTokens ? text : [...opening, ...text.slice(opening.length - half)];
    const request = {
      prompt: Int32Array.from(seen),
      tokensMax: Math.min(tokens - text.length, contextTokens - seen.length),
      // A draw depends on seed and place: with one seed all parts would draw alike.
      sampling: { ...sampling, seed: (sampling.seed + part) % SEEDS },
      stopTokens,
    };
    for await (const drawn of source.generate(request, signal)) {
      text.push(drawn.token);
      yield drawn;
      if (stopTokens.includes(drawn.token)) return;
    }
  }
}
