/**
 * A chat line by line: each line that comes is a turn, its answer is written as it
 * is drawn. It opens no terminal: lines and output are given, and whether a person
 * sits there.
 */

import { ChatTemplateError } from "../run/mod.ts";
import { Failure, type Output } from "./arguments.ts";
import type { Chat } from "./chat.ts";

/** Who talks with whom, and where. */
export interface ChatLinesOptions {
  readonly chat: Pick<Chat, "say">;
  /** Turns; the chat ends with them. */
  readonly lines: AsyncIterable<string>;
  /** Answers, and nothing else, go to `out`. */
  readonly output: Output;
  /** Where a person types the lines, who is told how it goes: the name of whom they talk to. */
  readonly person?: { readonly talksTo: string };
}

/**
 * Chats until there are no more lines. A person is told what goes wrong with a turn, and may try again.
 *
 * @throws {Failure} if there is no answer, and nobody to try again. Whatever else the chat throws.
 */
export async function chatByLines({ chat, lines, output, person }: ChatLinesOptions): Promise<void> {
  const { out, err } = output;
  const tellPerson = (text: string) => person && err(text);
  tellPerson(`A chat with ${person?.talksTo}. Each line is a turn; Ctrl-D ends it, Ctrl-C at once.\n`);
  let isOpen = false;
  try {
    tellPerson(PROMPT);
    for await (const line of lines) {
      isOpen = true;
      if (line.trim() !== "") await turn(line);
      isOpen = false;
      tellPerson(PROMPT);
    }
  } finally {
    // Whatever comes next begins a line of its own.
    if (isOpen) out("\n");
    else tellPerson("\n");
  }

  async function turn(line: string): Promise<void> {
    try {
      for await (const piece of chat.say(line)) out(piece);
    } catch (error) {
      if (!(error instanceof ChatTemplateError || person && error instanceof Failure)) throw error;
      err(`${error.message}\n`);
    }
    out("\n");
  }
}

const PROMPT = "› ";
