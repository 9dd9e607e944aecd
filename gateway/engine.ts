/**
 * What the gateway needs of whatever generates. It says nothing of how that is
 * done: behind it may be a swarm, one process, or a test.
 */

import type { ChatTemplate } from "../run/chat_template.ts";
import type { DrawnToken, Sampling } from "../run/sampling.ts";
import type { Tokenizer } from "../run/tokenizer.ts";

/** A model that can be asked. */
export interface Model {
  /** What clients call it. */
  readonly id: string;
  /** When it came to be, in seconds since the Unix epoch. */
  readonly createdSeconds: number;
  /** Tokens of a prompt and its continuation together, at most. */
  readonly contextTokens: number;
  /** The tokens that end a text end an answer, and are no part of it. */
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: ChatTemplate;
}

/** One text to go on with. */
export interface Generation {
  /** Id of the model. */
  readonly model: string;
  /** Token ids of the model, at least one. */
  readonly prompt: Int32Array;
  /** Tokens to add, at least one; with the prompt they fit into the model's context. */
  readonly tokensMax: number;
  readonly sampling: Sampling;
  /** Tokens after which nothing is to be drawn; the one that was drawn is given as well. */
  readonly stopTokens: readonly number[];
  /** Told of each token at once as it is drawn, whoever takes it and when: true if nothing is to be drawn after it. */
  readonly isLast?: (token: number) => boolean;
}

/** How an engine does. */
export interface EngineFigures {
  /** Texts that are being gone on with. */
  readonly sessions: number;
  /** Times that a session went on elsewhere since the beginning, as part of its path was lost. */
  readonly repairs: number;
  /** Why nothing can be generated now; `undefined` if it can. */
  readonly trouble?: string;
}

/** Goes on with texts. */
export interface Engine {
  /** All that can be asked, always the same ones. */
  models(): readonly Model[];
  /**
   * Draws tokens, one each time that it is asked for the next or ahead of that, until `tokensMax`, a stop
   * token or one that `isLast`.
   * Whoever breaks off, or aborts the signal, frees at once whatever is held for this text.
   *
   * @throws {EngineBusy} if there is no room for it now.
   * @throws {EngineUnavailable} if nobody can do it now.
   * @throws whatever the signal's reason is, once it is aborted.
   */
  generate(generation: Generation, signal: AbortSignal): AsyncIterable<DrawnToken>;
  figures(): EngineFigures;
}

/** There is no room for another text now. */
export class EngineBusy extends Error {
  override name = "EngineBusy";
  /** When to ask again. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Something that is needed is not there, such as a host of some stage; it may come. */
export class EngineUnavailable extends Error {
  override name = "EngineUnavailable";
}
