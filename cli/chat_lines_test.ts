import assert from "node:assert/strict";
import { ChatTemplateError } from "../run/mod.ts";
import { Exit, Failure } from "./arguments.ts";
import { chatByLines, type ChatLinesOptions } from "./chat_lines.ts";

/** A chat of these lines, and what was written where; an answer that is an error breaks off after a word. */
async function chatOf(
  lines: readonly string[],
  answers: Record<string, string | Error>,
  person?: ChatLinesOptions["person"],
) {
  const asked: string[] = [];
  const written = { out: "", err: "" };
  const done = chatByLines({
    chat: {
      async *say(line) {
        await Promise.resolve();
        asked.push(line);
        const answer = answers[line]!;
        yield "so ";
        if (answer instanceof Error) throw answer;
        yield answer;
      },
    },
    lines: ReadableStream.from(lines),
    output: { out: (text) => written.out += text, err: (text) => written.err += text },
    ...person === undefined ? {} : { person },
  });
  const error = await done.then(() => undefined, (error: unknown) => error);
  return { ...written, asked, error };
}

const ALICE = { talksTo: "Alice" };
const OPENING = "A chat with Alice. Each line is a turn; Ctrl-D ends it, Ctrl-C at once.\n› ";

Deno.test("a program gets answers alone, a line for each of its lines that says something", async () => {
  const { out, err, asked } = await chatOf(["a", " ", "b"], { a: "it is", b: "be it" });
  assert.deepEqual({ out, err, asked }, { out: "so it is\nso be it\n", err: "", asked: ["a", "b"] });
});

Deno.test("a person is asked, told how to end it, and left on a line of their own; answers go elsewhere", async () => {
  const { out, err } = await chatOf(["a"], { a: "it is" }, ALICE);
  assert.deepEqual({ out, err }, { out: "so it is\n", err: `${OPENING}› \n` });
});

Deno.test("a person may try again; a program is told by a code that it can't", async () => {
  const failed = new Failure("nobody is there");
  const person = await chatOf(["a", "b"], { a: failed, b: "yes" }, ALICE);
  assert.deepEqual(person, {
    out: "so \nso yes\n",
    err: `${OPENING}nobody is there\n› › \n`,
    asked: ["a", "b"],
    error: undefined,
  });
  const program = await chatOf(["a", "b"], { a: failed, b: "yes" });
  assert.deepEqual(program, { out: "so \n", err: "", asked: ["a"], error: failed });
});

Deno.test("a turn that the template refuses ends no chat", async () => {
  const { out, err, error } = await chatOf(["a", "b"], { a: new ChatTemplateError("rude"), b: "yes" });
  assert.deepEqual({ out, err, error }, { out: "so \nso yes\n", err: "rude\n", error: undefined });
});

Deno.test("whatever else goes wrong ends the chat, with its line", async () => {
  for (const person of [undefined, ALICE]) {
    for (const error of [new Exit(130), new TypeError("a bug")]) {
      const chat = await chatOf(["a", "b"], { a: error, b: "yes" }, person);
      assert.equal(chat.error, error);
      assert.equal(chat.out, "so \n");
      assert.deepEqual(chat.asked, ["a"]);
    }
  }
});
