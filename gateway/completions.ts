/** `/v1/completions`: goes on with texts, in OpenAI's shape. */

import { z } from "zod";
import type { Choice, Completion, Shape } from "./completion.ts";
import type { Model } from "./engine.ts";
import { CHOICES_MAX } from "./limits.ts";
import { logProbability } from "./log_probability.ts";
import { checkPrompt, encodePrompt, tokensAfter } from "./prompts.ts";
import {
  invalid,
  parseRequest,
  type Refusals,
  samplingOf,
  SHARED_REFUSALS,
  sharedFields,
  stopsOf,
  tokenCount,
  unless,
} from "./request_fields.ts";
import type { AnswerToken } from "./token_account.ts";

const ids = z.array(z.int().min(0).max(2 ** 31 - 1)).min(1);

/** What OpenAI adds if nobody says how much. */
const TOKENS_USUAL = 16;

/** OpenAI tells no more alternatives here. */
const TOP_MAX = 5;

const schema = z.object({
  ...sharedFields,
  prompt: z.union([
    z.string(),
    ids,
    z.array(z.string()).min(1).max(CHOICES_MAX),
    z.array(ids).min(1).max(CHOICES_MAX),
  ], { error: `must be a text, ids of tokens, or a list of ${CHOICES_MAX} of those at most` }),
  max_tokens: tokenCount,
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(TOP_MAX).nullish(),
});

const REFUSALS: Refusals = {
  ...SHARED_REFUSALS,
  suffix: unless("can't be heeded: the models here write on, and not in between", (value) => value === ""),
  best_of: unless("can't be heeded: every choice that is drawn is told; use n", (value) => value === 1),
};

/**
 * Settles what a request means.
 *
 * @param modelOf finds a model by its id, or throws.
 * @param seed to draw by, if the request names none.
 * @throws {Problem} 400 if it can't be answered.
 */
export function readCompletion(body: unknown, modelOf: (id: string) => Model, seed: number): Completion {
  const request = parseRequest(schema, REFUSALS, body);
  const model = modelOf(request.model);
  const { tokenizer } = model;
  const { echo, logprobs } = request;
  if (echo && typeof logprobs === "number") {
    throw invalid("logprobs", "Cannot tell logprobs with echo: those of a prompt are not computed");
  }
  const prompts = promptsOf(model, request.prompt);
  const n = request.n ?? 1;
  if (prompts.length * n > CHOICES_MAX) {
    throw invalid(
      "n",
      `Cannot answer ${prompts.length} prompts ${n} times each: ${CHOICES_MAX} choices are allowed`,
    );
  }
  const choices = prompts.flatMap(({ prompt, text }, place) => {
    const tokensMax = tokensAfter(model, prompt, "prompt", request.max_tokens ?? TOKENS_USUAL);
    // Who gives no seed may give one prompt several times, to have it answered in several ways.
    const before = typeof request.seed === "number" ? 0 : place * n;
    return Array.from({ length: n }, (_, index): Choice => ({
      prompt,
      goesOn: true,
      echo: echo ? text ?? tokenizer.decode(prompt) : "",
      tokensMax,
      sampling: samplingOf(
        request,
        tokenizer.vocabulary,
        request.seed ?? seed,
        before + index,
        logprobs ?? 0,
      ),
    }));
  });
  return {
    model,
    choices,
    stops: stopsOf(request),
    logProbabilities: typeof logprobs === "number",
    promptTokens: prompts.reduce((sum, { prompt }) => sum + prompt.length, 0),
    stream: request.stream ?? false,
    includeUsage: request.stream_options?.include_usage ?? false,
    shape: COMPLETION_SHAPE,
  };
}

interface Prompt {
  readonly prompt: Int32Array;
  /** As the client wrote it. */
  readonly text?: string;
}

function promptsOf(model: Model, prompt: z.output<typeof schema>["prompt"]): readonly Prompt[] {
  const of = (one: string | readonly number[]): Prompt =>
    typeof one === "string"
      ? { prompt: encodePrompt(model, one, "prompt", true), text: one }
      : { prompt: checkPrompt(model, one, "prompt") };
  if (typeof prompt === "string") return [of(prompt)];
  const areIds = (list: readonly unknown[]): list is readonly number[] => typeof list[0] === "number";
  return areIds(prompt) ? [of(prompt)] : prompt.map(of);
}

const COMPLETION_SHAPE: Shape = {
  idPrefix: "cmpl-",
  object: "text_completion",
  chunkObject: "text_completion",
  choice: (index, text, tokens, finish) => ({
    index,
    text,
    logprobs: tokens ? logProbabilities(tokens) : null,
    finish_reason: finish,
  }),
  opening: () => [],
  chunks: (index, { text, tokens, finish }, told) => [{
    index,
    text,
    logprobs: told ? logProbabilities(tokens) : null,
    finish_reason: finish ?? null,
  }],
};

function logProbabilities(tokens: readonly AnswerToken[]): object {
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map((token) => logProbability(token)),
    top_logprobs: tokens.map(({ top }) =>
      top.length === 0 ? null : Object.fromEntries(top.map((chance) => [chance.text, logProbability(chance)]))
    ),
    text_offset: tokens.map(({ offset }) => offset),
  };
}
