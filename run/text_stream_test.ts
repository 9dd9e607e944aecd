import assert from "node:assert/strict";
import fc from "fast-check";
import { byteTokenizer } from "./byte_tokenizer.ts";
import { TextStream } from "./text_stream.ts";

function streamed(ids: Iterable<number>): string[] {
  const stream = new TextStream(byteTokenizer);
  const texts = Array.from(ids, (id) => stream.push(id));
  return [...texts, stream.end()];
}

Deno.test("TextStream waits for the rest of a character", () => {
  assert.deepEqual(streamed(byteTokenizer.encode("a🐦b")), ["a", "", "", "", "🐦", "b", ""]);
});

Deno.test("TextStream yields in pieces what decoding yields at once", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.equal(streamed(byteTokenizer.encode(text)).join(""), text);
  }));
});

Deno.test("TextStream yields each character with the token that ends it, however tokens lie across characters", () => {
  const texts = fc.string({ unit: fc.constantFrom("a", "é", "€", "🦜"), minLength: 1, maxLength: 80 });
  fc.assert(fc.property(texts, fc.infiniteStream(fc.integer({ min: 1, max: 7 })), (text, sizes) => {
    const bytes = [...byteTokenizer.encode(text)];
    const tokens: number[][] = [];
    while (bytes.length > 0) tokens.push(bytes.splice(0, sizes.next().value));
    const decode = (ids: ArrayLike<number>) =>
      byteTokenizer.decode(Array.from(ids).flatMap((id) => tokens[id]));
    let decoded = 0;
    const stream = new TextStream({
      ...byteTokenizer,
      decode: (ids) => {
        decoded += ids.length;
        return decode(ids);
      },
    });
    let told = "";
    for (const id of tokens.keys()) {
      told += stream.push(id);
      assert.equal(told, decode([...tokens.keys()].slice(0, id + 1)).replace(/\ufffd$/, ""));
    }
    assert.equal(stream.end(), "");
    assert.ok(decoded <= 60 * tokens.length, `${decoded} tokens were decoded for ${tokens.length}`);
  }));
});

Deno.test("TextStream shows an unfinished character at the end", () => {
  assert.deepEqual(streamed([0xf0, 0x9f]), ["", "", "\ufffd"]);
});

Deno.test("TextStream waits only so long for what never becomes a character", () => {
  const texts = streamed(new Array(100).fill(0xff));
  assert.equal(texts.join(""), "\ufffd".repeat(100));
  assert.ok(texts.filter((text) => text === "").length <= 100);
  assert.ok(texts.every((text) => text.length <= 8));
});

Deno.test("TextStream finds back to text after garbage", () => {
  const ids = [...new Array(9).fill(0xff), ...byteTokenizer.encode("é ok")];
  assert.ok(streamed(ids).join("").endsWith("é ok"));
});

Deno.test("TextStream refuses ids outside the vocabulary and goes on", () => {
  const stream = new TextStream(byteTokenizer);
  assert.throws(() => stream.push(256), RangeError);
  assert.equal(stream.push(65), "A");
});

Deno.test("TextStream shows the blank that parts a text from what it goes on from", () => {
  const stripping = {
    ...byteTokenizer,
    decode: (ids: ArrayLike<number>) => byteTokenizer.decode(ids).replace(/^ /, ""),
  };
  const shown = (before: readonly number[]) => {
    const stream = new TextStream(stripping, before);
    return Array.from(byteTokenizer.encode(" é"), (id) => stream.push(id)).join("");
  };
  assert.equal(shown([]), "é");
  assert.equal(shown([...byteTokenizer.encode("long enough")]), " é");
  // Half a character is no context: it would be joined with what follows.
  assert.equal(shown([...byteTokenizer.encode("é")].slice(0, 1)), "é");
});
