/**
 * A chat in the terminal: a line is a turn, its answer comes as it is drawn, and
 * what was said so far stays as the tokens that it was said in. It knows neither
 * terminal nor network.
 */

import { StopText } from "../gateway/stop_text.ts";
import {
  type ChatMessage,
  type ChatTemplate,
  type DrawnToken,
  TextStream,
  type Tokenizer,
} from "../run/mod.ts";

/** Whom one chats with. */
export interface ChatParts {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Goes on with these tokens, up to and with one that ends a text. */
  readonly answer: (prompt: readonly number[]) => AsyncIterable<DrawnToken>;
}

/** One chat. */
export class Chat {
  readonly #parts: ChatParts;
  readonly #messages: ChatMessage[] = [];
  /** What the model has seen and said. */
  #text = "";
  #tokens: readonly number[] = [];

  /** @param system what the model is told first, if anything. */
  constructor(parts: ChatParts, system?: string) {
    this.#parts = parts;
    if (system !== undefined) this.#messages.push({ role: "system", content: system });
  }

  /** Tokens of all that was said so far. */
  get tokens(): readonly number[] {
    return this.#tokens;
  }

  /**
   * Says something, and yields the answer piece by piece. An answer that is broken off stays as far as it came.
   *
   * @throws {ChatTemplateError} if the template takes no such turn. Whatever else `answer` throws.
   */
  async *say(content: string): AsyncGenerator<string, void, void> {
    const { tokenizer, template, answer } = this.#parts;
    const turn: ChatMessage = { role: "user", content };
    const text = template.render([...this.#messages, turn]);
    this.#messages.push(turn);
    const prompt = this.#tokensOf(text);
    const stream = new TextStream(tokenizer);
    const stop = new StopText(template.stops);
    const said: number[] = [];
    let reply = "";
    try {
      for await (const { token } of answer(prompt)) {
        if (tokenizer.endOfText?.includes(token)) break;
        said.push(token);
        const piece = stop.push(stream.push(token));
        reply += piece;
        if (piece !== "") yield piece;
        if (stop.stopped) break;
      }
      const rest = stop.push(stream.end()) + stop.end();
      reply += rest;
      if (rest !== "") yield rest;
    } finally {
      // Nothing, unless it was broken off.
      reply += stop.push(stream.end()) + stop.end();
      this.#messages.push({ role: "assistant", content: reply });
      // What stood behind the end of the answer was not said.
      const whole = !stop.stopped;
      this.#text = text + (whole ? reply : "");
      this.#tokens = whole ? [...prompt, ...said] : prompt;
    }
  }

  /** What is new is read; what was said stays in the tokens that it was said in. Templates may leave out some of it. */
  #tokensOf(text: string): readonly number[] {
    const { tokenizer, template } = this.#parts;
    const known = this.#text !== "" && text.startsWith(this.#text);
    const all = known
      ? [...this.#tokens, ...tokenizer.encode(text.slice(this.#text.length))]
      : [...tokenizer.encode(text)];
    return template.opensText ? all : withBeginning(tokenizer, all);
  }
}

/** Tokens of a text from its beginning, with the one that opens a text where the model was taught one; once. */
export function withBeginning({ beginOfText }: Tokenizer, tokens: readonly number[]): readonly number[] {
  return beginOfText === undefined || tokens[0] === beginOfText ? tokens : [beginOfText, ...tokens];
}
