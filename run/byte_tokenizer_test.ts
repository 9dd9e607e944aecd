import assert from "node:assert/strict";
import fc from "fast-check";
import { byteTokenizer } from "./byte_tokenizer.ts";

Deno.test("byteTokenizer gives every byte a token", () => {
  assert.equal(byteTokenizer.vocabulary, 256);
  assert.deepEqual([...byteTokenizer.encode("Aé")], [65, 0xc3, 0xa9]);
});

Deno.test("byteTokenizer undoes itself, byte-order marks included", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.equal(byteTokenizer.decode(byteTokenizer.encode(text)), text);
  }));
  assert.equal(byteTokenizer.decode(byteTokenizer.encode("\ufeffx")), "\ufeffx");
});

Deno.test("byteTokenizer replaces what is no UTF-8, and refuses what is no byte", () => {
  assert.equal(byteTokenizer.decode([65, 0xff, 66]), "A\ufffdB");
  for (const id of [-1, 256, 1.5, NaN]) assert.throws(() => byteTokenizer.decode([id]), RangeError);
});
