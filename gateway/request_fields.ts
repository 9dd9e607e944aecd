/**
 * What both kinds of completions share of OpenAI's schema: how to draw, when to
 * end, how to be told. A field that is not known is ignored, but one that would
 * change what is answered, and that the gateway can't heed, is refused.
 */

import { z } from "zod";
import { LOGIT_BIAS_MAX, type Sampling } from "../run/sampling.ts";
import { CHOICES_MAX, STOP_CHARACTERS_MAX, STOPS_MAX } from "./limits.ts";
import { Problem } from "./problem.ts";

const stop = z.string().min(1).max(STOP_CHARACTERS_MAX);
const penalty = z.number().min(-2).max(2).nullish();

/** Tokens to add. */
export const tokenCount = z.int().min(1).max(2 ** 31 - 1).nullish();

/** Fields of both. */
export const sharedFields = {
  model: z.string().min(1).max(256),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  /** −1 and 0: no limit. Not OpenAI's, but what clients of open models send. */
  top_k: z.int().min(-1).max(2 ** 31 - 1).nullish(),
  repetition_penalty: z.number().min(0.01).max(10).nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  logit_bias: z.record(
    z.string().regex(/^\d{1,9}$/, "must name tokens by their ids"),
    z.number().min(-100).max(100),
  )
    .refine(
      (biases) => Object.keys(biases).length <= LOGIT_BIAS_MAX,
      `must name ${LOGIT_BIAS_MAX} tokens at most`,
    )
    .nullish(),
  /** 64 bits in OpenAI's schema: more than JSON's numbers hold exactly. */
  seed: z.number().refine(Number.isInteger, "must be whole").nullish(),
  n: z.int().min(1).max(CHOICES_MAX).nullish(),
  stop: z.union([stop, z.array(stop).max(STOPS_MAX)], {
    error: `must be a text, or a list of ${STOPS_MAX} at most`,
  }).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
};

const sharedSchema = z.object(sharedFields);

/** See {@link sharedFields}. */
export type SharedFields = z.output<typeof sharedSchema>;

/** Why a field can't be heeded, by its name; `undefined` if its value asks for nothing special. */
export type Refusals = Readonly<Record<string, (value: unknown) => string | undefined>>;

const isEmpty = (value: unknown) => Array.isArray(value) && value.length === 0;

/** Refuses whatever is given but nothing. */
export const unless =
  (reason: string, isHarmless: (value: unknown) => boolean = () => false) =>
  (value: unknown): string | undefined => isEmpty(value) || isHarmless(value) ? undefined : reason;

/** Of both kinds. */
export const SHARED_REFUSALS: Refusals = {
  min_p: unless("is not known here; use top_p", (value) => value === 0),
  ignore_eos: unless("is not known here", (value) => value === false),
  logits_processors: unless("are not known here"),
  guided_json: unless("is not known here"),
  guided_regex: unless("is not known here"),
  guided_choice: unless("is not known here"),
  guided_grammar: unless("is not known here"),
};

/**
 * Reads a request's body by its schema.
 *
 * @throws {Problem} 400 naming the first field that can't be used.
 */
export function parseRequest<Schema extends z.ZodType>(
  schema: Schema,
  refusals: Refusals,
  body: unknown,
): z.output<Schema> {
  const result = schema.safeParse(body);
  if (!result.success) {
    const { path, message } = deepest(result.error.issues[0]);
    const field = path.join(".");
    throw invalid(
      field === "" ? undefined : field,
      `Cannot read the request: ${field || "its body"}: ${message}`,
    );
  }
  for (const [name, reasonOf] of Object.entries(refusals)) {
    const value = (body as Readonly<Record<string, unknown>>)[name];
    const reason = value === undefined || value === null ? undefined : reasonOf(value);
    if (reason !== undefined) {
      throw invalid(name, `Cannot answer with ${name}: it ${reason}`, "unsupported_parameter");
    }
  }
  return result.data;
}

/** Where a field may be of several kinds: what is wrong within the one that fits best, if any fits at all. */
function deepest(issue: z.core.$ZodIssue): Pick<z.core.$ZodIssue, "path" | "message"> {
  if (issue.code !== "invalid_union") return issue;
  const within = issue.errors.flatMap(([first]) => first?.path.length > 0 ? [deepest(first)] : []);
  const [best] = within.toSorted((one, other) => other.path.length - one.path.length);
  return best === undefined ? issue : { path: [...issue.path, ...best.path], message: best.message };
}

/** A request that asks for what can't be. */
export function invalid(param: string | undefined, message: string, code = "invalid_value"): Problem {
  return new Problem(400, message, { param, code });
}

/** What strings end an answer. */
export function stopsOf({ stop }: Pick<SharedFields, "stop">): readonly string[] {
  return typeof stop === "string" ? [stop] : stop ?? [];
}

/**
 * How to draw the tokens of one choice.
 *
 * @param seed as the client has it, or as it was drawn.
 * @param index of the choice: each has a seed of its own.
 * @throws {Problem} 400 if a bias is for a token that the model does not have.
 */
export function samplingOf(
  fields: SharedFields,
  vocabulary: number,
  seed: number,
  index: number,
  topLogProbabilities: number,
): Sampling {
  const logitBias = Object.entries(fields.logit_bias ?? {}).map(([id, bias]) => ({
    token: Number(id),
    bias,
  }));
  const foreign = logitBias.find(({ token }) => token >= vocabulary);
  if (foreign) {
    throw invalid(
      "logit_bias",
      `Cannot favour token ${foreign.token}: the model has ${vocabulary}, from 0 on`,
    );
  }
  return {
    vocabulary,
    temperature: fields.temperature ?? 1,
    topK: Math.max(0, fields.top_k ?? 0),
    // Nothing at all can't be drawn from: it is taken for as little as can be.
    topP: Math.max(fields.top_p ?? 1, Number.EPSILON),
    repetitionPenalty: fields.repetition_penalty ?? 1,
    presencePenalty: fields.presence_penalty ?? 0,
    frequencyPenalty: fields.frequency_penalty ?? 0,
    logitBias,
    seed: (folded(seed) + index) >>> 0,
    topLogProbabilities,
  };
}

/** 32 bits of a whole number. Those of large ones that JSON rounds away are the low ones. */
function folded(seed: number): number {
  return Number(BigInt.asUintN(32, BigInt(seed) ^ (BigInt(Math.abs(seed)) >> 32n)));
}
