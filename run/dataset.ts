/**
 * The tokens of a run, and which of them make up each micro-batch. A
 * micro-batch is a pure function of (seed, step, index): whoever has the data
 * can make any of them again, which is what replay rests on.
 */

import { createHash } from "node:crypto";
import type { Manifest } from "./manifest.ts";
import { drawInteger, Purpose } from "./order.ts";
import { checkTokenIds, type Tokenizer } from "./tokenizer.ts";

/** B sequences of T tokens. */
export interface TokenBatch {
  /** `[B, T]`, row-major. */
  readonly tokens: Int32Array;
  /** `[B, T]`: the token that follows each. */
  readonly targets: Int32Array;
}

/** What of a manifest says how the data is cut. */
export type DatasetSource = Pick<
  Manifest,
  "model" | "sequenceLength" | "sequencesPerMicroBatch" | "seed" | "validation"
>;

/** A text in tokens, split once into training and validation. */
export class Dataset {
  readonly #source: DatasetSource;
  readonly #training: Int32Array;
  readonly #validation: Int32Array;
  #corpus: string | undefined;

  /**
   * Splits the tokens.
   *
   * @param tokens of all texts, one after the other; kept, not copied.
   * @throws {RangeError} if a token is outside the model's vocabulary, or a
   *   part is too short for one sequence and its targets, T + 1 tokens.
   */
  constructor(source: DatasetSource, tokens: Int32Array) {
    checkTokenIds(tokens, source.model.vocabulary);
    const held = Math.floor(tokens.length * source.validation.fraction);
    this.#source = source;
    this.#training = tokens.subarray(0, tokens.length - held);
    this.#validation = tokens.subarray(tokens.length - held);
    this.#checkLength("training", this.#training);
    if (source.validation.fraction > 0) this.#checkLength("validation", this.#validation);
  }

  /** Encodes texts and joins them in their order. @throws {RangeError} as the constructor does. */
  static fromTexts(
    source: DatasetSource,
    tokenizer: Tokenizer,
    texts: readonly string[],
  ): Dataset {
    const parts = texts.map((text) => tokenizer.encode(text));
    const tokens = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) {
      tokens.set(part, offset);
      offset += part.length;
    }
    return new Dataset(source, tokens);
  }

  /**
   * Names what is trained on, 64 hex digits: whoever holds data of this name makes the same
   * micro-batches. It tells nothing of the data to those that don't have them.
   */
  get corpus(): string {
    return this.#corpus ??= createHash("sha256").update(bytesOf(this.#training)).digest("hex");
  }

  /** Tokens to train on. */
  get trainingTokens(): number {
    return this.#training.length;
  }

  /** Tokens that are never trained on. */
  get validationTokens(): number {
    return this.#validation.length;
  }

  /**
   * One micro-batch to train on.
   *
   * @param step from 0.
   * @param index of the micro-batch in its step, from 0.
   * @returns sequences from random places; fresh arrays.
   */
  microBatch(step: number, index: number): TokenBatch {
    return this.#batch(this.#training, Purpose.training, step, index);
  }

  /**
   * One micro-batch to validate on.
   *
   * @param index from 0. The same at every step, so that validations compare.
   * @throws {RangeError} if the run holds no data for validation.
   */
  validationBatch(index: number): TokenBatch {
    this.#checkLength("validation", this.#validation);
    return this.#batch(this.#validation, Purpose.validation, 0, index);
  }

  #batch(from: Int32Array, purpose: Purpose, step: number, index: number): TokenBatch {
    checkCount("step", step);
    checkCount("micro-batch", index);
    const { sequenceLength, sequencesPerMicroBatch, seed } = this.#source;
    const tokens = new Int32Array(sequencesPerMicroBatch * sequenceLength);
    const targets = new Int32Array(tokens.length);
    // The last start still leaves a target behind its last token.
    const starts = from.length - sequenceLength;
    for (let row = 0; row < sequencesPerMicroBatch; row++) {
      const start = drawInteger(seed, purpose, [step, index, row], starts);
      tokens.set(from.subarray(start, start + sequenceLength), row * sequenceLength);
      targets.set(from.subarray(start + 1, start + 1 + sequenceLength), row * sequenceLength);
    }
    return { tokens, targets };
  }

  #checkLength(part: string, tokens: Int32Array): void {
    const least = this.#source.sequenceLength + 1;
    if (tokens.length < least) {
      throw new RangeError(
        `Cannot cut sequences of ${part}: it holds ${tokens.length} tokens, one takes ${least}`,
      );
    }
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Counters are 32-bit words: beyond them draws would repeat in silence. */
function checkCount(what: string, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new RangeError(`Cannot make ${what} ${value}: expected an integer from 0 to 4294967295`);
  }
}
