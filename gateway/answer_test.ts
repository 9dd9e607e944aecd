import assert from "node:assert/strict";
import fc from "fast-check";
import { byteTokenizer } from "../run/byte_tokenizer.ts";
import type { DrawnToken } from "../run/sampling.ts";
import type { Tokenizer } from "../run/tokenizer.ts";
import { answer, type Piece, stopWatch } from "./answer.ts";
import { END_TOKEN } from "./testing/fake_engine.ts";

const tokenizer = { ...byteTokenizer, endOfText: [END_TOKEN] };

/** Draws ids, and tells whether it was asked to stop. */
async function* drawing(ids: readonly number[], ended: { value?: boolean } = {}): AsyncGenerator<DrawnToken> {
  try {
    for (const token of ids) {
      yield { token, logProbability: -1, top: [] };
      await Promise.resolve();
    }
  } finally {
    ended.value = true;
  }
}

function pieces(ids: readonly number[], stops: readonly string[] = [], echo = ""): Promise<Piece[]> {
  return Array.fromAsync(
    answer({ tokenizer, stops, after: [], echo, logProbabilities: true, drawn: drawing(ids) }),
  );
}

Deno.test("pieces add up to the text, tokens to what was drawn, and only the last piece is an end", async () => {
  // Whole texts, and bytes that are none.
  const ids = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 12 }).map((text) => [...byteTokenizer.encode(text)]),
    fc.array(fc.integer({ min: 0, max: 254 }), { maxLength: 40 }),
  );
  await fc.assert(fc.asyncProperty(ids, fc.boolean(), async (ids, ends) => {
    const told = await pieces(ends ? [...ids, END_TOKEN] : ids);
    const text = told.map((piece) => piece.text).join("");
    const expected = byteTokenizer.decode(ids);
    if (!expected.includes("\ufffd")) assert.equal(text, expected);
    assert.equal(told.flatMap(({ tokens }) => tokens).length, ids.length);
    const offsets = told.flatMap(({ tokens }) => tokens.map(({ offset }) => offset));
    assert.deepEqual(offsets, offsets.toSorted((a, b) => a - b));
    assert.deepEqual(told.map(({ finish }) => finish), [
      ...Array(told.length - 1).fill(undefined),
      ends ? "stop" : "length",
    ]);
  }));
});

Deno.test("no token of what a stop string cuts off is told, and nothing more is drawn", async () => {
  const ended: { value?: boolean } = {};
  const drawn = drawing([..."one two"].map((letter) => letter.charCodeAt(0)), ended);
  const told = await Array.fromAsync(
    answer({ tokenizer, stops: [" t", "two"], after: [], echo: "", logProbabilities: true, drawn }),
  );
  assert.deepEqual(told.flatMap(({ tokens }) => tokens.map(({ text }) => text)), ["o", "n", "e"]);
  assert.deepEqual(told.at(-1)!.finish, "stop");
  assert.ok(ended.value);
});

/** Of tokens of several bytes, wherever characters begin and end. */
function clumsyTokenizer(clumps: readonly (readonly number[])[]): Tokenizer {
  return {
    ...byteTokenizer,
    vocabulary: clumps.length,
    decode: (ids) => byteTokenizer.decode(Array.from(ids).flatMap((id) => clumps[id])),
  };
}

/** Texts of few characters, of one to four bytes each, in tokens of one to three. */
const clumsyText = fc.record({
  text: fc.string({ unit: fc.constantFrom("a", "b", "é", "€", "🦜"), maxLength: 24 }),
  stops: fc.array(fc.string({ unit: fc.constantFrom("a", "é", "€", "🦜"), minLength: 1, maxLength: 4 }), {
    minLength: 1,
    maxLength: 4,
  }),
  sizes: fc.infiniteStream(fc.integer({ min: 1, max: 3 })),
}).map(({ text, stops, sizes }) => {
  const bytes = [...byteTokenizer.encode(text)];
  const clumps: number[][] = [];
  while (bytes.length > 0) clumps.push(bytes.splice(0, sizes.next().value));
  return { text, stops, tokenizer: clumsyTokenizer(clumps), ids: [...clumps.keys()] };
});

Deno.test("no part of a stop string is told, whatever characters and tokens it lies across; all else is", async () => {
  await fc.assert(
    fc.asyncProperty(clumsyText, fc.boolean(), async ({ text, stops, tokenizer, ids }, logProbabilities) => {
      let drawn = 0;
      let isOver = false;
      const drawing = async function* () {
        try {
          for (const token of ids) {
            drawn++;
            await Promise.resolve();
            yield { token, logProbability: -1, top: [] };
          }
        } finally {
          isOver = true;
        }
      };
      const watch = stopWatch({ tokenizer, stops, after: [] })!;
      const watched = ids.findIndex(watch);
      let told = "";
      for await (
        const piece of answer({ tokenizer, stops, after: [], echo: "", logProbabilities, drawn: drawing() })
      ) {
        told += piece.text;
        if (piece.finish === undefined) continue;
        assert.ok(isOver, "whoever takes the last piece late holds up nobody");
        assert.equal(piece.finish, stops.some((stop) => text.includes(stop)) ? "stop" : "length");
      }
      assert.ok(text.startsWith(told) && !stops.some((stop) => told.includes(stop)), told);
      const rest = text.slice(told.length);
      if (!stops.some((stop) => text.includes(stop))) return assert.equal(rest, "");
      assert.ok(stops.some((stop) => rest.startsWith(stop)), `${told}|${rest}`);
      const whole = ids.findIndex((_, index) =>
        stops.some((stop) => tokenizer.decode(ids.slice(0, index + 1)).includes(stop))
      );
      assert.equal(drawn, whole + 1);
      assert.equal(watched, whole);
    }),
    { numRuns: 500 },
  );
});

Deno.test("what is echoed comes first, moves the offsets, and is not searched for stop strings", async () => {
  const [first, ...rest] = await pieces([97, 98], ["cho"], "echo ");
  assert.deepEqual(first, { text: "echo ", tokens: [] });
  assert.deepEqual(rest.flatMap(({ tokens }) => tokens.map(({ offset }) => offset)), [5, 6]);
});

Deno.test("an answer that goes on with a text keeps the blank that it begins with; a text of its own has none", async () => {
  // As decoders do that know a blank before each word.
  const stripping = {
    ...tokenizer,
    decode: (ids: ArrayLike<number>) =>
      byteTokenizer.decode(Array.from(ids).filter((id) => id !== END_TOKEN)).replace(/^ /, ""),
  };
  const told = async (before: string, ...special: readonly number[]) => {
    const after = [...byteTokenizer.encode(before), ...special];
    const drawn = drawing([...byteTokenizer.encode(" go on")]);
    const pieces = await Array.fromAsync(
      answer({ tokenizer: stripping, stops: [], after, echo: "", logProbabilities: true, drawn }),
    );
    return {
      text: pieces.map(({ text }) => text).join(""),
      tokens: pieces.flatMap(({ tokens }) => tokens.map(({ text }) => text)).join(""),
    };
  };
  for (const before of ["I", "I é", "I ", "   "]) {
    assert.deepEqual(await told(before), { text: " go on", tokens: " go on" }, before);
  }
  assert.deepEqual(await told("I", END_TOKEN), { text: " go on", tokens: " go on" });
  assert.deepEqual(await told(""), { text: "go on", tokens: "go on" });
});
