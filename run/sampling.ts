/**
 * How a text is continued: which token follows, given what the model thinks of
 * each. It draws nothing: that is for whoever holds the logits, with the number
 * that {@link samplingUniform} gives for the token's place.
 */

import { z } from "zod";
import { philox, Purpose, unitInterval } from "./order.ts";

/** How the next token is chosen. Defaults: {@link GREEDY}. */
export interface Sampling {
  /** Only ids below it are tokens; 0: all that the model knows. A model may be padded beyond its tokenizer. */
  readonly vocabulary: number;
  /** Divides the logits; 0 takes the likeliest token and draws nothing. */
  readonly temperature: number;
  /** How many of the likeliest tokens may be drawn; 0: all. */
  readonly topK: number;
  /** Only the likeliest tokens that together have this probability may be drawn (Holtzman et al., 2020). */
  readonly topP: number;
  /** Divides positive logits of tokens that the text holds, and multiplies negative ones (Keskar et al., 2019); 1: none. */
  readonly repetitionPenalty: number;
  /** Taken once from the logit of each token that was added to the prompt. */
  readonly presencePenalty: number;
  /** Taken from it as often as it was added. */
  readonly frequencyPenalty: number;
  /** Added to the logits of these tokens. */
  readonly logitBias: readonly { readonly token: number; readonly bias: number }[];
  /** Whoever draws with one seed draws the same tokens. 32 bits. */
  readonly seed: number;
  /** Alternatives whose log-probabilities are wanted with each token. */
  readonly topLogProbabilities: number;
}

/** A token that was chosen. */
export interface DrawnToken {
  /** Its id. */
  readonly token: number;
  /** Natural logarithm of its probability in the model's own words: before temperature, penalties and bias. */
  readonly logProbability: number;
  /** The likeliest tokens, likeliest first; as many as were asked for. */
  readonly top: readonly { readonly token: number; readonly logProbability: number }[];
}

/** Always the likeliest token. */
export const GREEDY: Sampling = {
  vocabulary: 0,
  temperature: 0,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
  seed: 0,
  topLogProbabilities: 0,
};

/** Tokens whose logits one text may change. */
export const LOGIT_BIAS_MAX = 1024;
/** Alternatives that one token may be told with. */
export const TOP_LOG_PROBABILITIES_MAX = 20;

const token = z.int().min(0).max(2 ** 31 - 1);

/** What a stranger's wish has to look like. */
export const samplingSchema: z.ZodType<Sampling> = z.strictObject({
  vocabulary: z.int().min(0).max(2 ** 31 - 1),
  temperature: z.number().min(0).max(100),
  topK: z.int().min(0).max(2 ** 31 - 1),
  topP: z.number().gt(0).max(1),
  repetitionPenalty: z.number().min(0.01).max(100),
  presencePenalty: z.number().min(-100).max(100),
  frequencyPenalty: z.number().min(-100).max(100),
  logitBias: z.array(z.strictObject({ token, bias: z.number().min(-1000).max(1000) })).max(LOGIT_BIAS_MAX)
    .readonly(),
  seed: z.int().min(0).max(2 ** 32 - 1),
  topLogProbabilities: z.int().min(0).max(TOP_LOG_PROBABILITIES_MAX),
});

/**
 * The number that decides which token stands at a position of a text: of seed and
 * position alone, so that whoever draws it a second time draws the same.
 *
 * @param position of the token to be drawn, from 0.
 * @returns a number in [0, 1).
 */
export function samplingUniform({ seed }: Pick<Sampling, "seed">, position: number): number {
  const [high, low] = philox([seed, Purpose.sampling], [position, 0, 0, 0]);
  return unitInterval(high, low);
}
