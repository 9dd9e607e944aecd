/**
 * Goes on with a text, token by token: asks for logits, samples, asks again. It
 * knows no network; whoever calls says how logits are come by.
 */

import { TextStream, type Tokenizer } from "../run/mod.ts";
import { sampleToken, type Sampling } from "./sample.ts";

/** What to go on with, and how. */
export interface Continuation {
  readonly tokenizer: Tokenizer;
  /** Not empty. */
  readonly prompt: string;
  /** Tokens to add, at most. */
  readonly tokens: number;
  /** Tokens that the model sees: only the last so many of a longer text. */
  readonly contextTokens: number;
  readonly sampling: Sampling;
  /** Uniform draws from [0, 1). */
  readonly uniform: () => number;
  /** Logits `[V]` (or more of them than the tokenizer knows) of the token after these. */
  readonly read: (tokens: Int32Array) => Promise<Float32Array>;
}

/**
 * Yields the text that follows the prompt, piece by piece; ends early where the
 * model ends the text.
 *
 * @throws {RangeError} if the prompt is empty.
 */
export async function* continueText(continuation: Continuation): AsyncGenerator<string, void, void> {
  const { tokenizer, contextTokens } = continuation;
  const ids = [
    ...tokenizer.beginOfText === undefined ? [] : [tokenizer.beginOfText],
    ...tokenizer.encode(continuation.prompt),
  ];
  if (ids.length === 0) throw new RangeError("Cannot go on with a text: the prompt is empty");
  const text = new TextStream(tokenizer);
  for (let added = 0; added < continuation.tokens; added++) {
    const logits = await continuation.read(Int32Array.from(ids.slice(-contextTokens)));
    // A model may be padded beyond its tokenizer; those tokens mean nothing.
    const token = sampleToken(
      logits.subarray(0, tokenizer.vocabulary),
      continuation.sampling,
      continuation.uniform,
    );
    if (tokenizer.endOfText?.includes(token)) break;
    ids.push(token);
    const piece = text.push(token);
    if (piece !== "") yield piece;
  }
  const rest = text.end();
  if (rest !== "") yield rest;
}
