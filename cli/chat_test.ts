import assert from "node:assert/strict";
import {
  byteTokenizer,
  type ChatTemplate,
  ChatTemplateError,
  openChatTemplate,
  type Tokenizer,
} from "../run/mod.ts";
import { Chat, type ChatParts } from "./chat.ts";

const bytes = (text: string) => [...byteTokenizer.encode(text)];
const textOf = (ids: readonly number[]) => byteTokenizer.decode(ids);

/** Answers with these texts, one after the other, and keeps what it was asked. */
function answering(...answers: string[]): ChatParts["answer"] & { readonly asked: string[] } {
  const asked: string[] = [];
  return Object.assign(async function* (prompt: readonly number[]) {
    asked.push(textOf(prompt));
    for (const token of bytes(answers.shift()!)) {
      await Promise.resolve();
      yield { token, logProbability: -1, top: [] };
    }
  }, { asked });
}

async function say(chat: Chat, text: string): Promise<string> {
  return (await Array.fromAsync(chat.say(text))).join("");
}

const plain = openChatTemplate(undefined);

Deno.test("each turn goes on from all that was said; an answer ends where the user would speak", async () => {
  const answer = answering(" Hello.\nUser: and more", " Fine.");
  const chat = new Chat({ tokenizer: byteTokenizer, template: plain, answer });
  assert.equal(await say(chat, "Hi"), " Hello.");
  assert.equal(await say(chat, "How are you?"), " Fine.");
  assert.deepEqual(answer.asked, [
    "User: Hi\nAssistant:",
    "User: Hi\nAssistant: Hello.\nUser: How are you?\nAssistant:",
  ]);
});

Deno.test("what was said stays in the tokens that it was said in", async () => {
  // Two ways to write the same: a model may say "ab" as one token or as two.
  const tokenizer: Tokenizer = {
    ...byteTokenizer,
    vocabulary: 257,
    encode: (text) =>
      Int32Array.from(text.split("ab").flatMap((part, index) => index ? [256, ...bytes(part)] : bytes(part))),
    decode: (ids) => Array.from(ids, (id) => id === 256 ? "ab" : byteTokenizer.decode([id])).join(""),
  };
  const template: ChatTemplate = {
    stops: [],
    opensText: true,
    render: (messages) => messages.map(({ content }) => content).join(""),
  };
  const seen: (readonly number[])[] = [];
  const chat = new Chat({
    tokenizer,
    template,
    answer: async function* (prompt) {
      seen.push(prompt);
      await Promise.resolve();
      for (const token of bytes("ab")) yield { token, logProbability: -1, top: [] };
    },
  });
  await say(chat, "x");
  await say(chat, "ab");
  assert.deepEqual(seen, [bytes("x"), [...bytes("xab"), 256]]);
});

Deno.test("a template that leaves out what was said has its way", async () => {
  const answer = answering("<think>hm</think>yes", "no");
  const template: ChatTemplate = {
    stops: [],
    opensText: true,
    render: (messages) =>
      messages.map(({ content }) => `[${content.replace(/<think>.*<\/think>/, "")}]`).join(""),
  };
  const chat = new Chat({ tokenizer: byteTokenizer, template, answer }, "be brief");
  await say(chat, "a");
  await say(chat, "b");
  assert.deepEqual(answer.asked, ["[be brief][a]", "[be brief][a][yes][b]"]);
});

Deno.test("the token that ends a text ends the answer, the one that opens it stands before all, once", async () => {
  const tokenizer: Tokenizer = { ...byteTokenizer, beginOfText: 2, endOfText: [3] };
  const seen: (readonly number[])[] = [];
  const chat = new Chat({
    tokenizer,
    template: plain,
    answer: async function* (prompt) {
      seen.push(prompt);
      await Promise.resolve();
      for (const token of [...bytes("ok"), 3, ...bytes("never")]) {
        yield { token, logProbability: -1, top: [] };
      }
    },
  });
  assert.equal(await say(chat, "a"), "ok");
  assert.equal(await say(chat, "b"), "ok");
  assert.deepEqual(seen.map((prompt) => prompt.filter((id) => id === 2).length), [1, 1]);
  assert.ok(seen.every((prompt) => prompt[0] === 2));
});

Deno.test("an answer that is broken off stays as far as it came", async () => {
  const answer = answering("one two", "three");
  const chat = new Chat({ tokenizer: byteTokenizer, template: plain, answer });
  let heard = "";
  for await (const piece of chat.say("a")) {
    heard += piece;
    if (heard === "one") break;
  }
  await say(chat, "b");
  assert.equal(answer.asked[1], "User: a\nAssistant: one\nUser: b\nAssistant:");
});

Deno.test("a turn that the template refuses was never said", async () => {
  const answer = answering("fine");
  const template: ChatTemplate = {
    stops: [],
    opensText: true,
    render(messages) {
      if (messages.at(-1)!.content === "rude") {
        throw new ChatTemplateError("Cannot make a text of this chat: rude");
      }
      return plain.render(messages);
    },
  };
  const chat = new Chat({ tokenizer: byteTokenizer, template, answer });
  await assert.rejects(say(chat, "rude"), ChatTemplateError);
  await say(chat, "a");
  assert.deepEqual(answer.asked, ["User: a\nAssistant:"]);
});
