import assert from "node:assert/strict";
import fc from "fast-check";
import { canonicalJson } from "./canonical_json.ts";

Deno.test("canonicalJson sorts keys at every depth", () => {
  assert.equal(canonicalJson({ b: [{ d: 1, c: null }], a: "ä" }), '{"a":"ä","b":[{"c":null,"d":1}]}');
});

Deno.test("canonicalJson writes what JSON reads back", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)));
  }));
});

Deno.test("canonicalJson gives the same text for any order of keys", () => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.integer()), (value) => {
    const reversed = Object.fromEntries(Object.entries(value).reverse());
    assert.equal(canonicalJson(reversed), canonicalJson(value));
  }));
});

for (const value of [undefined, NaN, Infinity, () => 1, 1n, new Map(), { a: undefined }]) {
  Deno.test(`canonicalJson refuses ${typeof value} ${String(value)}`, () => {
    assert.throws(() => canonicalJson(value), { name: "TypeError", message: /Cannot write canonical JSON/ });
  });
}
