/**
 * What it is to have a text continued, as seen by whoever wants it: the wish, what
 * may come instead of tokens, and what happened meanwhile. It finds no path and
 * sends nothing: that is the reader's (`reader.ts`).
 */

import type { PeerId } from "./core/actor.ts";
import type { DrawnToken, Sampling } from "../run/mod.ts";

/** A text to be continued, and how. */
export interface GenerationRequest {
  /** Token ids of the text so far, `[T]`: at least one. */
  readonly prompt: Int32Array;
  /** Tokens to add, at most: at least one. With the prompt no more than the manifest's `sequenceLength`. */
  readonly tokensMax: number;
  /** How each token is drawn. */
  readonly sampling: Sampling;
  /** The first of these is the last token that is yielded. */
  readonly stopTokens: readonly number[];
  /**
   * Told of each token at once as it comes, whoever takes it and when: true if it is the last one that is
   * wanted. For what no stop token tells, as strings that end a text. What it throws ends the text.
   */
  readonly isLast?: (token: number) => boolean;
}

/** Has texts continued. */
export interface Generates {
  /**
   * Continues a text, token by token, as fast as they come: whoever takes them slowly holds up no host. The
   * work begins when the first is asked for. Leaving early (`return`, `break`, `throw`, or aborting `signal`)
   * ends it at once, on all hosts.
   *
   * @returns tokens, to be iterated over once. The iteration throws {@link GenerationFailed}, or what `signal`
   *   was aborted with.
   */
  generate(request: GenerationRequest, signal?: AbortSignal): AsyncIterable<DrawnToken>;
}

/** Why no more tokens come. */
export type GenerationFailure =
  /** The request can't be met by this model, ever. */
  | { readonly kind: "invalid" }
  /** Prompt and new tokens are more than the model was made for. */
  | { readonly kind: "tooLong"; readonly tokens: number; readonly tokensMax: number }
  /** This peer has as many texts under way, and waiting, as it takes. */
  | { readonly kind: "busy"; readonly retryAfterMs: number }
  /** Nobody is known who serves this stage, or nobody of those can be reached. */
  | { readonly kind: "noHosts"; readonly stage: number }
  /** The hosts of some stage have no room for another text. */
  | { readonly kind: "noRoom"; readonly retryAfterMs: number }
  /** One path after the other has failed. */
  | { readonly kind: "unanswered"; readonly attempts: number }
  /** Its hosts could not be paid. */
  | { readonly kind: "unpaid" }
  /** This peer has stopped, or has to begin anew. */
  | { readonly kind: "stopped" };

/** A text that is not continued any more. The message says why, for a person. */
export class GenerationFailed extends Error {
  /** Tells it from a bug. */
  override name = "GenerationFailed";
  /** Why, for a program. */
  readonly failure: GenerationFailure;

  /** A failure, and its words. */
  constructor(failure: GenerationFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** What happened to a text on its way, for whoever counts. */
export type GenerationFact =
  /** Its first path was chosen, after so long. */
  | { readonly kind: "placed"; readonly path: readonly PeerId[]; readonly waitedMs: number }
  /** Its path broke, and another one has brought the next token: the pause, from the first to the second. */
  | {
    readonly kind: "repaired";
    /** The new path. */
    readonly path: readonly PeerId[];
    /** Who was taken for the culprit at first, */
    readonly blamed: readonly PeerId[];
    /** and why. */
    readonly reason: string;
    readonly pauseMs: number;
    /** Paths that were tried for it. */
    readonly attempts: number;
  }
  /** One token came. `computedTokens` were computed for it: all of the text after a repair, else one. */
  | { readonly kind: "token"; readonly ms: number; readonly computedTokens: number }
  /** It is over, however it ended. */
  | { readonly kind: "ended"; readonly tokens: number; readonly ms: number; readonly repairs: number };
