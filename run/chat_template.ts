/**
 * From the messages of a chat to the text that a model goes on with, by the
 * template that was published with it (Jinja, in `tokenizer_config.json`), or
 * by a plain one where there is none. A template is given messages and nothing
 * else: no tools, no files, no time of day, so that the same chat always gives
 * the same text.
 */

import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { z } from "zod";

/** Longest template in use is some 20,000 characters; beyond this it is none. */
const TEMPLATE_CHARACTERS_MAX = 262_144;
/** Templates that one file may name. */
const TEMPLATES_MAX = 64;
/** What a template may make of a chat: it repeats what it is given, and adds a little to each message. */
const TEXT_CHARACTERS_MAX = 16 * 1024 * 1024;
/** Steps of a template's own loops, `range(…)`. */
const RANGE_MAX = 65_536;

/** Who speaks. */
export type ChatRole = "system" | "user" | "assistant";

/** One turn of a chat. */
export interface ChatMessage {
  /** Who speaks. */
  readonly role: ChatRole;
  /** What is said. */
  readonly content: string;
  /** Of who speaks, where there are several of one role. */
  readonly name?: string;
}

/** Makes the text of a chat. */
export interface ChatTemplate {
  /** Texts that end an answer, beside the token that ends a text; empty where the model was taught that token. */
  readonly stops: readonly string[];
  /**
   * Whether the token that opens a text, where the model was taught one, is the template's to put there, spelt
   * out; else it goes before the text.
   */
  readonly opensText: boolean;
  /**
   * The text of a chat, up to where the next answer begins.
   *
   * @throws {ChatTemplateError} if the template refuses the chat, or can't make anything of it.
   */
  render(messages: readonly ChatMessage[]): string;
}

/** A chat that a template refuses: two turns of one role in a row, a system message where there may be none. */
export class ChatTemplateError extends Error {
  /** Tells it from a bug. */
  override name = "ChatTemplateError";
}

const source = z.string().max(TEMPLATE_CHARACTERS_MAX);
const configSchema = z.looseObject({
  chat_template: z.union([
    source,
    z.array(z.looseObject({ name: z.string(), template: source })).max(TEMPLATES_MAX),
  ]).nullish(),
});

/** Special tokens that templates ask for by name. */
const SPECIAL_TOKENS = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token"];

/**
 * For models that were not taught to chat: each turn is a line that opens with who speaks. The
 * answer ends where the model begins to speak for the user.
 */
const PLAIN_TEMPLATE: ChatTemplate = {
  stops: ["\nUser:", "\nSystem:"],
  opensText: false,
  render(messages) {
    // Answers begin with the blank that is put here anyway.
    const turns = messages.map(({ role, content }) => `${PLAIN_NAMES[role]}: ${content.trim()}\n`);
    return bounded(`${turns.join("")}${PLAIN_NAMES.assistant}:`);
  },
};

const PLAIN_NAMES: Readonly<Record<ChatRole, string>> = {
  system: "System",
  user: "User",
  assistant: "Assistant",
};

/**
 * Opens a model's template.
 *
 * @param configJson contents of `tokenizer_config.json`, whose `chat_template` is a template or a
 *   list of named ones, of which the one named `default` is taken. Without the file, or without a
 *   template in it, the plain template is.
 * @throws {TypeError} if it is no JSON, or its template can't be read.
 */
export function openChatTemplate(configJson: string | undefined): ChatTemplate {
  if (configJson === undefined) return PLAIN_TEMPLATE;
  const config = parseConfig(configJson);
  const text = chosen(config.chat_template);
  if (text === undefined) return PLAIN_TEMPLATE;
  const { parsed } = parseTemplate(text);
  const tokens = SPECIAL_TOKENS.map((name) => [name, tokenText(config[name])] as const);
  return {
    stops: [],
    opensText: true,
    render(messages) {
      const environment = new Environment();
      for (const [name, value] of Object.entries({ true: true, True: true, false: false, False: false })) {
        environment.set(name, value);
      }
      for (const name of ["none", "None"]) environment.set(name, null);
      environment.set("range", range);
      environment.set("raise_exception", refuse);
      for (const [name, value] of tokens) if (value !== undefined) environment.set(name, value);
      environment.set("messages", messages.map((message) => ({ ...message })));
      environment.set("add_generation_prompt", true);
      return bounded(run(new Interpreter(environment), parsed));
    },
  };
}

function run(interpreter: Interpreter, parsed: Template["parsed"]): string {
  try {
    return String(interpreter.run(parsed).value);
  } catch (error) {
    if (error instanceof ChatTemplateError || !(error instanceof Error)) throw error;
    // The library throws plain errors for whatever a template can't do with these messages.
    throw new ChatTemplateError(`Cannot make a text of this chat: ${error.message}`, { cause: error });
  }
}

function refuse(reason: unknown): never {
  throw new ChatTemplateError(`Cannot make a text of this chat: ${String(reason)}`);
}

/** As Python's, with a bound: a template's loop must not be able to hold up everything else. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!(count <= RANGE_MAX)) {
    throw new ChatTemplateError(
      `Cannot make a text of this chat: its template counts to ${count}, ${RANGE_MAX} is allowed`,
    );
  }
  return Array.from({ length: count }, (_, index) => start + index * step);
}

function bounded(text: string): string {
  if (text.length <= TEXT_CHARACTERS_MAX) return text;
  throw new ChatTemplateError(
    `Cannot make a text of this chat: it has ${text.length} characters, ${TEXT_CHARACTERS_MAX} are allowed`,
  );
}

function parseConfig(json: string): z.output<typeof configSchema> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read tokenizer_config.json: ${error.message}`, { cause: error });
  }
  const result = configSchema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0];
  throw new TypeError(`Cannot read tokenizer_config.json: ${path.join(".") || "contents"}: ${message}`);
}

function parseTemplate(text: string): Template {
  try {
    return new Template(text);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new TypeError(`Cannot read the chat template: ${error.message}`, { cause: error });
  }
}

function chosen(template: z.output<typeof configSchema>["chat_template"]): string | undefined {
  if (typeof template === "string") return template;
  return (template?.find(({ name }) => name === "default") ?? template?.[0])?.template;
}

/** A token is its text, or an object that holds its text. */
function tokenText(token: unknown): string | undefined {
  const text = typeof token === "object" && token !== null && "content" in token ? token.content : token;
  return typeof text === "string" ? text : undefined;
}
