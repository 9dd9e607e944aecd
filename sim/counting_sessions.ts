/**
 * Sessions of almost no cost whose text proves that nothing went wrong on the way:
 * what a stage hands on for a token is a digest of all tokens before it at all
 * stages before, and the token that is drawn follows from that. A token that was
 * lost, doubled, moved or mixed up is refused, or changes the text. It knows no
 * model, and holds no numbers but digests.
 */

import type { HostTensor } from "../kernels/mod.ts";
import { canonicalJson, type DrawnToken, type Sampling, samplingUniform } from "../run/mod.ts";
import {
  CacheFull,
  type Continued,
  type Draw,
  type SessionResult,
  type SessionRun,
  type Sessions,
} from "../stages/mod.ts";

/** What counting sessions are made of. */
export interface CountingSessionsOptions {
  /** Of how many stages this is which. */
  readonly index: number;
  readonly count: number;
  /** Tokens are below. */
  readonly vocabulary: number;
  /** Numbers that hand on one token, at least two: place, and digest. The others are zero. */
  readonly width: number;
  /** Default: 65,536. */
  readonly capacityTokens?: number;
  /** Told of each run, before it is carried out; a throw is its failure, with nothing changed. */
  readonly onRun?: (run: SessionRun) => void;
}

/** Tokens that a session takes at once. */
export const COUNTING_BLOCK_TOKENS = 32;

/** Whole numbers below are exact in f32. */
const EXACT = 2 ** 24;

/** The sessions of one counting stage. */
export class CountingSessions implements Sessions {
  readonly capacityTokens: number;
  readonly #options: CountingSessionsOptions;
  /** Of each session, the digest of every position. */
  readonly #digests = new Map<string, number[]>();

  constructor(options: CountingSessionsOptions) {
    this.#options = options;
    this.capacityTokens = options.capacityTokens ?? 65_536;
  }

  get roomTokens(): number {
    let taken = 0;
    for (const { length } of this.#digests.values()) taken += inBlocks(length);
    return this.capacityTokens - taken;
  }

  get count(): number {
    return this.#digests.size;
  }

  extend(run: SessionRun): Promise<SessionResult> {
    try {
      this.#options.onRun?.(run);
      return Promise.resolve(this.#extend(run));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  end(key: string): void {
    this.#digests.delete(key);
  }

  /** Ends all. */
  clear(): void {
    this.#digests.clear();
  }

  #extend({ sequences, input }: SessionRun): SessionResult {
    const { index, count, width } = this.#options;
    const tokens = this.#check(sequences, input);
    const isLast = index + 1 === count;
    const activation = new Float32Array(isLast ? 0 : sequences.length * tokens * width);
    const inputs = sequences.map(({ position }, row) =>
      Array.from({ length: tokens }, (_, t) => this.#inputOf(input, row * tokens + t, position + t))
    );
    this.#checkRoom(sequences, tokens);
    const drawn = sequences.map(({ key, position, draw }, row) => {
      const digests = this.#digests.get(key) ?? [];
      this.#digests.set(key, digests);
      digests.length = position;
      inputs[row].forEach((value, t) => {
        digests.push(mixed(digests.at(-1) ?? 0, value, index));
        if (!isLast) {
          activation.set(handedOn(position + t, index, digests.at(-1)!), (row * tokens + t) * width);
        }
      });
      return draw && drawFrom(digests.at(-1)!, digests.length, draw, this.#options.vocabulary);
    });
    if (isLast) return { kind: "drawn", drawn };
    return {
      kind: "activation",
      activation: { dataType: "f32", shape: [sequences.length, tokens, width], data: activation },
    };
  }

  /** @returns T. */
  #check(sequences: readonly Continued[], { dataType, shape, data }: HostTensor): number {
    const { index, count, width } = this.#options;
    const expected = index === 0 ? "i32 [B, T]" : `f32 [B, T, ${width}]`;
    const fits = index === 0
      ? dataType === "i32" && shape.length === 2
      : dataType === "f32" && shape.length === 3 && shape[2] === width;
    if (!fits || shape[0] !== sequences.length || !(shape[0] > 0) || !(shape[1] > 0)) {
      throw new TypeError(
        `Cannot extend ${sequences.length} sessions: input is ${dataType} [${shape}], not ${expected}`,
      );
    }
    if (data.length !== shape.reduce((product, size) => product * size)) {
      throw new TypeError(`Cannot extend sessions: input holds ${data.length} values, not [${shape}]`);
    }
    if (new Set(sequences.map(({ key }) => key)).size !== sequences.length) {
      throw new TypeError("Cannot extend sessions: one of them comes twice");
    }
    for (const { key, position, draw } of sequences) {
      const kept = this.#digests.get(key)?.length ?? 0;
      if (!Number.isSafeInteger(position) || position < 0 || position > kept) {
        throw new TypeError(`Cannot extend session ${key} at position ${position}: ${kept} tokens are kept`);
      }
      if (draw !== undefined && index + 1 < count) {
        throw new TypeError(`Cannot draw for session ${key}: stage ${index} is not the last`);
      }
      if (draw !== undefined) checkDraw(key, position + shape[1], draw);
    }
    return shape[1];
  }

  /** What a row says, which has to be of this position. */
  #inputOf({ data }: HostTensor, row: number, position: number): number {
    const { index, width, vocabulary } = this.#options;
    if (index === 0) {
      const token = data[row];
      if (token >= 0 && token < vocabulary) return token;
      throw new TypeError(`Cannot extend sessions: token ${token} of ${vocabulary}`);
    }
    const [place, digest, ...others] = data.subarray(row * width, (row + 1) * width);
    if (place !== placeOf(position, index - 1) || others.some((value) => value !== 0)) {
      throw new TypeError(
        `Cannot extend sessions: hidden states are not those of position ${position} after stage ${
          index - 1
        }`,
      );
    }
    if (!Number.isInteger(digest) || digest < 0 || digest >= EXACT) {
      throw new TypeError(`Cannot extend sessions: a digest is ${digest}`);
    }
    return digest;
  }

  #checkRoom(sequences: readonly Continued[], tokens: number): void {
    let wanted = 0;
    for (const { key, position } of sequences) {
      wanted += inBlocks(position + tokens) - inBlocks(this.#digests.get(key)?.length ?? 0);
    }
    const room = this.roomTokens;
    if (wanted <= room) return;
    throw new CacheFull(
      `Cannot extend ${sequences.length} sessions: ${wanted} tokens find no room in ${room} of ` +
        `${this.capacityTokens}`,
    );
  }
}

/**
 * What a prompt leads to, without any session: the tokens that follow it.
 *
 * @param tokens how many are wanted.
 */
export function countingText(
  { stages, vocabulary }: { readonly stages: number; readonly vocabulary: number },
  prompt: readonly number[],
  sampling: Sampling,
  tokens: number,
): DrawnToken[] {
  const text = [...prompt];
  const digests = new Array<number>(stages).fill(0);
  const take = (token: number) => {
    let value = token;
    for (let stage = 0; stage < stages; stage++) value = digests[stage] = mixed(digests[stage], value, stage);
  };
  prompt.forEach(take);
  return Array.from({ length: tokens }, () => {
    const uniform = samplingUniform(sampling, text.length);
    const draw = { sampling, uniform, text: Int32Array.from(text), promptTokens: prompt.length };
    const drawn = drawFrom(digests[stages - 1], text.length, draw, vocabulary);
    text.push(drawn.token);
    take(drawn.token);
    return drawn;
  });
}

/** The token at a position, and what is told with it. */
function drawFrom(digest: number, position: number, draw: Draw, vocabulary: number): DrawnToken {
  const { sampling, uniform, text, promptTokens } = draw;
  const { seed: _, ...wishes } = sampling;
  let chosen = mixed(digest, hashOf(canonicalJson(wishes)), position);
  if (sampling.temperature > 0) chosen = mixed(chosen, Math.floor(uniform * EXACT), position);
  if (isPenalised(sampling)) {
    for (const token of text) chosen = mixed(chosen, token, promptTokens);
  }
  const top = Array.from({ length: Math.min(sampling.topLogProbabilities, vocabulary) }, (_, rank) => ({
    token: (chosen + rank) % vocabulary,
    logProbability: 0 - (chosen % 1024) / 1024 - rank,
  }));
  return { token: chosen % vocabulary, logProbability: 0 - (chosen % 1024) / 1024, top };
}

function checkDraw(key: string, length: number, { sampling, uniform, text, promptTokens }: Draw): void {
  if (!(uniform >= 0 && uniform < 1)) throw new TypeError(`Cannot draw for session ${key}: draw ${uniform}`);
  if (uniform !== samplingUniform(sampling, length)) {
    throw new TypeError(`Cannot draw for session ${key}: the draw is not that of position ${length}`);
  }
  if (!isPenalised(sampling)) return;
  if (text.length !== length || promptTokens > length) {
    throw new TypeError(
      `Cannot draw for session ${key}: text of ${text.length} tokens, ${promptTokens} of them prompt, not ${length}`,
    );
  }
}

function isPenalised({ repetitionPenalty, presencePenalty, frequencyPenalty }: Sampling): boolean {
  return repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
}

function inBlocks(tokens: number): number {
  return Math.ceil(tokens / COUNTING_BLOCK_TOKENS) * COUNTING_BLOCK_TOKENS;
}

function handedOn(position: number, stage: number, digest: number): [number, number] {
  return [placeOf(position, stage), digest];
}

/** Tells positions and stages apart, as far as f32 does. */
function placeOf(position: number, stage: number): number {
  return (position * 61 + stage) % EXACT;
}

/** Some 24 bits of three numbers. */
function mixed(one: number, two: number, three: number): number {
  let hash = 0x811c9dc5;
  for (const value of [one, two, three]) {
    hash = Math.imul(hash ^ value, 0x9e3779b1);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x85ebca6b);
    hash ^= hash >>> 13;
  }
  return hash >>> 8;
}

/** Some 24 bits of a text. */
function hashOf(text: string): number {
  let hash = 0;
  for (let at = 0; at < text.length; at++) hash = mixed(hash, text.charCodeAt(at), at);
  return hash;
}
