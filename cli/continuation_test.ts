import assert from "node:assert/strict";
import { byteTokenizer, type Tokenizer } from "../run/mod.ts";
import { type Continuation, continueText } from "./continuation.ts";

/** Goes on with what `next` says follows. */
function going(given: Partial<Continuation> & { next: (tokens: Int32Array) => number }): Continuation {
  return {
    tokenizer: byteTokenizer,
    prompt: "ab",
    tokens: 4,
    contextTokens: 8,
    sampling: { temperature: 0, topK: 0 },
    uniform: () => assert.fail("nothing is to be drawn"),
    read: (tokens) => {
      const logits = new Float32Array(256).fill(-1);
      logits[given.next(tokens)] = 1;
      return Promise.resolve(logits);
    },
    ...given,
  };
}

const textOf = async (continuation: Continuation) =>
  (await Array.fromAsync(continueText(continuation))).join("");

Deno.test("each token is asked for with all that came before, up to the model's reach", async () => {
  const seen: string[] = [];
  const text = await textOf(going({
    contextTokens: 3,
    next: (tokens) => {
      seen.push(String.fromCharCode(...tokens));
      return tokens.at(-1)! + 1;
    },
  }));
  assert.equal(text, "cdef");
  assert.deepEqual(seen, ["ab", "abc", "bcd", "cde"]);
});

Deno.test("characters of several tokens come whole", async () => {
  const bytes = [...new TextEncoder().encode("é✓")];
  let at = 0;
  const pieces = await Array.fromAsync(continueText(going({ tokens: 5, next: () => bytes[at++]! })));
  assert.deepEqual(pieces, ["é", "✓"]);
  at = 0;
  assert.equal(await textOf(going({ tokens: 3, next: () => bytes[at++]! })), "é\ufffd");
});

Deno.test("the end of the text ends it, and its beginning is told", async () => {
  const tokenizer: Tokenizer = { ...byteTokenizer, beginOfText: 1, endOfText: [2] };
  const seen: number[][] = [];
  const answers = [99, 2];
  const text = await textOf(going({
    tokenizer,
    tokens: 9,
    next: (tokens) => {
      seen.push([...tokens]);
      return answers.shift()!;
    },
  }));
  assert.equal(text, "c");
  assert.deepEqual(seen, [[1, 97, 98], [1, 97, 98, 99]]);
});

Deno.test("nothing can't be gone on with", async () => {
  await assert.rejects(textOf(going({ prompt: "", next: () => 0 })), RangeError);
});

Deno.test("tokens that only the padded model knows are never drawn", async () => {
  const read = () => Promise.resolve(Float32Array.from({ length: 300 }, (_, token) => token));
  assert.equal(await textOf(going({ tokens: 1, read, next: () => 0 })), "\ufffd");
});
