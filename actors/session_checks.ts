/**
 * What a host takes in of a stranger's `extend`: every field may lie. These checks
 * say why something can't be served, as a reason that its home can be told. They
 * keep nothing, and decide nothing.
 */

import type { PeerId } from "./core/actor.ts";
import { HIDDEN_MAGNITUDE_MAX, SESSION_RETRY_MS } from "./limits.ts";
import type { MessageOf, Opening, RemoteMessage, SessionPart } from "./messages.ts";

/** What the run's manifest says of texts. */
export interface TextBounds {
  /** Token ids are below. */
  readonly vocabulary: number;
  /** Width of the hidden states, C. */
  readonly width: number;
  /** Tokens of the longest text. */
  readonly sequenceLength: number;
  /** Stages of the model. */
  readonly stages: number;
}

/** New tokens of one session. */
export interface Tokens {
  readonly ids: Int32Array;
  /** `[N, C]`, beyond the first stage. */
  readonly hidden: Float32Array | undefined;
}

/** Why the tensors of a frame are not those of its parts; `undefined` if they are. */
export function frameFault(
  { stage, parts, tokens, hidden }: MessageOf<"extend">,
  { width }: TextBounds,
): string | undefined {
  const rows = parts.reduce((sum, { count }) => sum + count, 0);
  if (tokens.dataType !== "i32" || tokens.shape.length !== 1 || tokens.shape[0] !== rows) {
    return `tokens are ${tokens.dataType} [${tokens.shape}], not i32 [${rows}]`;
  }
  if (stage === 0) return hidden === undefined ? undefined : "hidden states come before the first stage";
  if (hidden === undefined) return "hidden states are missing";
  const { dataType, shape } = hidden;
  if (dataType !== "f32" || shape.length !== 2 || shape[0] !== rows || shape[1] !== width) {
    return `hidden states are ${dataType} [${shape}], not f32 [${rows}, ${width}]`;
  }
  return undefined;
}

/** The tokens of each part of a frame without fault, each in memory of its own: a frame is not kept for one of its parts. */
export function tokensOf({ parts, tokens, hidden }: MessageOf<"extend">, { width }: TextBounds): Tokens[] {
  let row = 0;
  return parts.map(({ count }) => {
    const from = row;
    row += count;
    return {
      ids: tokens.data.slice(from, row) as Int32Array,
      hidden: hidden?.data.slice(from * width, row * width) as Float32Array | undefined,
    };
  });
}

/** Why numbers of one session can't be computed with; `undefined` if they can. Others share its run, and must not suffer. */
export function tokensFault({ ids, hidden }: Tokens, { vocabulary }: TextBounds): string | undefined {
  for (const token of ids) {
    if (!(token >= 0 && token < vocabulary)) return `token ${token} is none of ${vocabulary}`;
  }
  for (const value of hidden ?? []) {
    // The other way round NaN would pass.
    if (!(Math.abs(value) <= HIDDEN_MAGNITUDE_MAX)) return `a hidden state is ${value}`;
  }
  return undefined;
}

/** Where a session's tokens may come from: its home, or the host of the stage before. */
export function previousOf({ home, path }: Opening, stage: number): PeerId {
  return stage === 0 ? home : path[stage - 1];
}

/** Why a session can't be opened here; `undefined` if it can. */
export function openingFault(
  { path, promptTokens, tokensMax, sampling }: Opening,
  { self, stage, bounds }: { readonly self: PeerId; readonly stage: number; readonly bounds: TextBounds },
): string | undefined {
  if (path.length !== bounds.stages) {
    return `its path has ${path.length} hosts, the model ${bounds.stages} stages`;
  }
  if (path[stage] !== self) return `its path leads elsewhere at stage ${stage}`;
  if (tokensMax > bounds.sequenceLength) {
    return `a text of ${tokensMax} tokens is wanted, the longest of this run has ${bounds.sequenceLength}`;
  }
  if (promptTokens > tokensMax) return `its prompt has ${promptTokens} tokens, its text at most ${tokensMax}`;
  const strange = sampling.logitBias.find(({ token }) => token >= bounds.vocabulary);
  if (strange !== undefined) return `token ${strange.token} of its biases is none of ${bounds.vocabulary}`;
  return undefined;
}

/** Why a part does not go on where its session stands; `undefined` if it does. */
export function partFault(
  { position, count, spentMs }: SessionPart,
  { tokensMax }: Opening,
  { stage, length }: { readonly stage: number; readonly length: number },
): string | undefined {
  if (position !== length) return `it goes on at position ${position}, ${length} tokens are known`;
  if (position + count > tokensMax) {
    return `its text would have ${position + count} tokens, at most ${tokensMax} were announced`;
  }
  if (spentMs.length !== stage) return `${spentMs.length} stages tell their time, not ${stage}`;
  return undefined;
}

/** What the sender of tokens that nobody heard of is told, so that the session does not wait for them. */
export function turnedAway({ stage, parts }: MessageOf<"extend">): RemoteMessage[] {
  const sessions = parts.map(({ session }) => session);
  if (stage > 0) return [{ kind: "endSessions", sessions }];
  const reason = "this peer does not serve, or its mailbox is full";
  return sessions.map((session) => ({
    kind: "sessionLost",
    session,
    stage,
    reason,
    retryAfterMs: SESSION_RETRY_MS,
  }));
}
