/**
 * From what a client sends to the ids that a model goes on with, within what the
 * model can hold. It cuts nothing off: what does not fit is refused.
 */

import type { Model } from "./engine.ts";
import { CHARACTERS_PER_TOKEN_MAX } from "./limits.ts";
import { Problem } from "./problem.ts";
import { invalid } from "./request_fields.ts";

/**
 * Ids of a text.
 *
 * @param param field that the text came from.
 * @param open whether the token that opens a text goes before it, if the model was taught one.
 * @throws {Problem} 400 if it is far too long, or the tokenizer has no ids for it.
 */
export function encodePrompt(model: Model, text: string, param: string, open: boolean): Int32Array {
  const { tokenizer, contextTokens } = model;
  if (text.length > contextTokens * CHARACTERS_PER_TOKEN_MAX) {
    throw tooLong(param, `${text.length} characters are more than ${contextTokens} tokens can hold`);
  }
  const ids = encode(model, text, param);
  const { beginOfText } = tokenizer;
  return !open || beginOfText === undefined || ids[0] === beginOfText
    ? ids
    : Int32Array.from([beginOfText, ...ids]);
}

/**
 * Ids that a client gives itself.
 *
 * @throws {Problem} 400 if one is none of the model's.
 */
export function checkPrompt(
  { tokenizer: { vocabulary } }: Model,
  ids: readonly number[],
  param: string,
): Int32Array {
  const foreign = ids.find((id) => id >= vocabulary);
  if (foreign === undefined) return Int32Array.from(ids);
  throw invalid(
    param,
    `Cannot read the prompt: token ${foreign} is none of the model's ${vocabulary}, from 0 on`,
  );
}

/**
 * How many tokens may be added to a prompt.
 *
 * @param wanted `undefined` or `null`: as many as there is room for.
 * @throws {Problem} 400 if there is no prompt, or no room for as many.
 */
export function tokensAfter(
  { contextTokens }: Model,
  prompt: Int32Array,
  param: string,
  wanted: number | null | undefined,
): number {
  if (prompt.length === 0) throw invalid(param, "Cannot go on with a text: the prompt is empty");
  const room = contextTokens - prompt.length;
  if (room < 1) {
    throw tooLong(
      param,
      `it has ${prompt.length} tokens, and the model holds ${contextTokens}, the answer included`,
    );
  }
  if (wanted !== undefined && wanted !== null && wanted > room) {
    throw tooLong(
      param,
      `it has ${prompt.length} tokens, ${wanted} are to be added, and the model holds ${contextTokens} in all`,
    );
  }
  return wanted ?? room;
}

function encode({ tokenizer }: Model, text: string, param: string): Int32Array {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    // A tokenizer that has no token for something, and none for the unknown.
    if (!(error instanceof RangeError)) throw error;
    throw invalid(param, `Cannot read the prompt: ${error.message}`);
  }
}

function tooLong(param: string, reason: string): Problem {
  return new Problem(400, `Cannot take the prompt: ${reason}`, { code: "context_length_exceeded", param });
}
