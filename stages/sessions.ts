/**
 * What a stage keeps of the texts that are being continued: the keys and values of
 * every token so far, a session for each text. It knows neither who asks nor why.
 */

import type { HostTensor } from "../kernels/device.ts";
import type { DrawnToken, Sampling } from "../run/mod.ts";

/** One text in a run, and its place. */
export interface Continued {
  /** Names its session. */
  readonly key: string;
  /**
   * Tokens that stand before the new ones. 0 begins a session; fewer than are kept cuts the text off there
   * first.
   */
  readonly position: number;
  /** The token after the last new one is wanted; last stage only. */
  readonly draw?: Draw;
}

/** How a token is to be drawn. */
export interface Draw {
  /** What the session's owner asked for. */
  readonly sampling: Sampling;
  /** In [0, 1): the draw. */
  readonly uniform: number;
  /** The text so far, the new tokens included. Only penalties look at it: it may be empty where there are none. */
  readonly text: Int32Array;
  /** How many of `text` were the prompt. */
  readonly promptTokens: number;
}

/** Several texts, each continued by as many tokens. */
export interface SessionRun {
  /** B of them, each session once. */
  readonly sequences: readonly Continued[];
  /** Token ids `[B, T]` for stage 0, hidden states `[B, T, C]` after. */
  readonly input: HostTensor;
}

/** What a run over sessions found. */
export type SessionResult =
  /** Not the last stage: hidden states `[B, T, C]` for the next one. */
  | { readonly kind: "activation"; readonly activation: HostTensor }
  /** The last stage: a token for each sequence that wanted one. */
  | { readonly kind: "drawn"; readonly drawn: readonly (DrawnToken | undefined)[] };

/** No room is left for another token. Ending a session makes some. */
export class CacheFull extends Error {
  /** Tells it from other errors, also behind a thread. */
  override name = "CacheFull";
}

/** The sessions of a stage. Calls take effect in their order, also between them and the stage's own. */
export interface Sessions {
  /** Tokens of which keys and values may be kept, over all sessions. */
  readonly capacityTokens: number;
  /** How many of these can still be taken. A session takes them in blocks. */
  readonly roomTokens: number;
  /** Sessions of which something is kept. */
  readonly count: number;

  /**
   * Runs new tokens of several sessions through the stage, and keeps their keys and values.
   *
   * @throws {TypeError} if shape, type or range does not fit, or a session lacks tokens before its position.
   * @throws {CacheFull} if their keys and values find no room. Nothing has changed then.
   * @throws {RangeError} if a result is not finite. The sessions of the run have ended then.
   */
  extend(run: SessionRun): Promise<SessionResult>;
  /** Frees what is kept of a session; nothing happens if there is nothing. */
  end(key: string): void;
}
