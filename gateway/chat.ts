/** `/v1/chat/completions`: answers a chat, in OpenAI's shape, through the template of the model. */

import { z } from "zod";
import type { ChatMessage } from "../run/chat_template.ts";
import { TOP_LOG_PROBABILITIES_MAX } from "../run/sampling.ts";
import type { Completion, Shape } from "./completion.ts";
import type { Model } from "./engine.ts";
import { MESSAGES_MAX, PARTS_MAX } from "./limits.ts";
import { logProbability } from "./log_probability.ts";
import { encodePrompt, tokensAfter } from "./prompts.ts";
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
import type { AnswerToken, TokenChance } from "./token_account.ts";

const ROLES = { system: "system", developer: "system", user: "user", assistant: "assistant" } as const;

const messageSchema = z.object({
  role: z.enum(Object.keys(ROLES) as (keyof typeof ROLES)[], {
    error: "must be system, developer, user or assistant: the models here use no tools",
  }),
  content: z.union([
    z.string(),
    z.array(z.object({
      type: z.literal("text", { error: "must be text: the models here neither see nor hear" }),
      text: z.string(),
    })).max(PARTS_MAX),
  ], { error: `must be a text, or a list of ${PARTS_MAX} at most` }),
  name: z.string().max(256).nullish(),
  tool_calls: z.null({ error: "can't be told: the models here use no tools" }).optional(),
  function_call: z.null({ error: "can't be told: the models here use no tools" }).optional(),
});

const schema = z.object({
  ...sharedFields,
  messages: z.array(messageSchema).min(1).max(MESSAGES_MAX),
  max_tokens: tokenCount,
  max_completion_tokens: tokenCount,
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(TOP_LOG_PROBABILITIES_MAX).nullish(),
});

const NO_TOOLS = "can't be heeded: the models here use no tools";

const REFUSALS: Refusals = {
  ...SHARED_REFUSALS,
  tools: unless(NO_TOOLS),
  functions: unless(NO_TOOLS),
  tool_choice: unless(NO_TOOLS, (value) => value === "none" || value === "auto"),
  function_call: unless(NO_TOOLS, (value) => value === "none" || value === "auto"),
  web_search_options: unless(NO_TOOLS),
  response_format: unless(
    "can't be heeded: the models here write text, in no form that could be promised",
    (value) => typeof value === "object" && (value as { readonly type?: unknown }).type === "text",
  ),
  modalities: unless(
    "can't be heeded: the models here write text alone",
    (value) => Array.isArray(value) && value.every((kind) => kind === "text"),
  ),
  audio: unless("can't be heeded: the models here write text alone"),
};

/**
 * Settles what a request means.
 *
 * @param modelOf finds a model by its id, or throws.
 * @param seed to draw by, if the request names none.
 * @throws {Problem} 400 if it can't be answered.
 * @throws {ChatTemplateError} if the model's template refuses the chat.
 */
export function readChat(body: unknown, modelOf: (id: string) => Model, seed: number): Completion {
  const request = parseRequest(schema, REFUSALS, body);
  const model = modelOf(request.model);
  const { logprobs, top_logprobs: top } = request;
  if (typeof top === "number" && !logprobs) {
    throw invalid("top_logprobs", "Cannot tell top_logprobs: logprobs is not true");
  }
  const { chatTemplate } = model;
  const text = chatTemplate.render(request.messages.map(messageOf));
  const prompt = encodePrompt(model, text, "messages", !chatTemplate.opensText);
  const tokensMax = tokensAfter(
    model,
    prompt,
    "messages",
    request.max_completion_tokens ?? request.max_tokens,
  );
  return {
    model,
    choices: Array.from({ length: request.n ?? 1 }, (_, index) => ({
      prompt,
      goesOn: false,
      echo: "",
      tokensMax,
      sampling: samplingOf(request, model.tokenizer.vocabulary, request.seed ?? seed, index, top ?? 0),
    })),
    stops: [...stopsOf(request), ...chatTemplate.stops],
    logProbabilities: logprobs ?? false,
    promptTokens: prompt.length,
    stream: request.stream ?? false,
    includeUsage: request.stream_options?.include_usage ?? false,
    shape: CHAT_SHAPE,
  };
}

function messageOf({ role, content, name }: z.output<typeof messageSchema>): ChatMessage {
  const text = typeof content === "string" ? content : content.map((part) => part.text).join("");
  return { role: ROLES[role], content: text, ...name ? { name } : {} };
}

const CHAT_SHAPE: Shape = {
  idPrefix: "chatcmpl-",
  object: "chat.completion",
  chunkObject: "chat.completion.chunk",
  choice: (index, text, tokens, finish) => ({
    index,
    message: { role: "assistant", content: text, refusal: null },
    logprobs: tokens ? logProbabilities(tokens) : null,
    finish_reason: finish,
  }),
  opening: (index) => [delta(index, { role: "assistant", content: "", refusal: null })],
  chunks: (index, { text, tokens, finish }, told) => [
    ...text === "" && tokens.length === 0 ? [] : [delta(index, { content: text }, told ? tokens : undefined)],
    ...finish === undefined ? [] : [{ ...delta(index, {}), finish_reason: finish }],
  ],
};

function delta(index: number, delta: object, tokens?: readonly AnswerToken[]): object {
  return { index, delta, logprobs: tokens ? logProbabilities(tokens) : null, finish_reason: null };
}

function logProbabilities(tokens: readonly AnswerToken[]): object {
  return {
    content: tokens.map((token) => ({ ...chance(token), top_logprobs: token.top.map(chance) })),
    refusal: null,
  };
}

function chance(token: TokenChance): object {
  return { token: token.text, logprob: logProbability(token), bytes: bytesOf(token.text) };
}

/** Where a token holds a part of a character its text does not say which bytes it stands for. */
function bytesOf(text: string): readonly number[] | null {
  return text.includes("\ufffd") ? null : [...new TextEncoder().encode(text)];
}
