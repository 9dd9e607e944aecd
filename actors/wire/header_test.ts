import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Encoder } from "cbor-x";
import fc from "fast-check";
import { FRAME_HEADER_DEPTH_MAX } from "../limits.ts";
import { decodeHeader, encodeHeader } from "./header.ts";
import { BadFrame } from "./wire.ts";

const key = fc.string({ unit: "grapheme" }).filter((key) => key !== "__proto__");

/** Whatever a header may hold. */
const { plain } = fc.letrec((tie) => ({
  plain: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(null, undefined, true, false),
    fc.integer(),
    fc.maxSafeInteger(),
    // CBOR's integers know no negative zero.
    fc.double().map((number) => number === 0 ? 0 : number),
    fc.string({ unit: "grapheme" }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie("plain"), { maxLength: 30 }),
    fc.dictionary(key, tie("plain"), { maxKeys: 30, noNullPrototype: true }),
  ),
}));

Deno.test("headers survive the way there and back", () => {
  fc.assert(
    fc.property(plain, (value) => {
      assert.deepEqual(unbuffered(decodeHeader(encodeHeader(value))), value);
    }),
  );
});

/** Compares byte strings by their bytes, whichever class holds them. */
function unbuffered(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(unbuffered);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unbuffered(inner)]));
}

Deno.test("a byte string is one whether a Buffer holds it or not", () => {
  assert.deepEqual(
    [...encodeHeader({ hash: Buffer.from([1, 2, 3]) })],
    [...encodeHeader({ hash: new Uint8Array([1, 2, 3]) })],
  );
});

Deno.test("what is not plain is refused before it travels", () => {
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const values = [
    new Map(),
    new Set([1]),
    new Date(0),
    new Float32Array(2),
    new Float16Array(2),
    new ArrayBuffer(2),
    /text/,
    12n,
    Symbol("text"),
    () => 1,
    cyclic,
    new (class Thing {})(),
  ];
  for (const value of values) {
    assert.throws(() => encodeHeader({ value }), {
      name: "TypeError",
      message: /^Cannot encode header: it /,
    });
  }
});

Deno.test("arbitrary bytes are a plain value or a bad frame", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      turnedAwayOr(() => encodeHeader(decodeHeader(bytes)));
    }),
    { numRuns: 3000 },
  );
});

Deno.test("one changed bit gives a plain value or a bad frame", () => {
  fc.assert(
    fc.property(plain, fc.nat(), (value, flip) => {
      const bytes = new Uint8Array(encodeHeader(value));
      const bit = flip % (8 * bytes.length);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      turnedAwayOr(() => encodeHeader(decodeHeader(bytes)));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("a header that ends early or late is a bad frame", () => {
  fc.assert(
    fc.property(plain, fc.nat(), (value, cut) => {
      const bytes = encodeHeader(value);
      assert.throws(() => decodeHeader(bytes.subarray(0, cut % bytes.length)), BadFrame);
      assert.throws(() => decodeHeader(new Uint8Array([...bytes, 0])), BadFrame);
    }),
  );
});

Deno.test("CBOR beyond the dialect is turned away with the reason", () => {
  const full = new Encoder({ structuredClone: true });
  const cases: readonly (readonly [Uint8Array, RegExp])[] = [
    [Uint8Array.of(0xf9, 0x3c, 0x00), /simple value or float 25 is not taken/],
    [Uint8Array.of(0xfa, 0, 0, 0, 0), /simple value or float 26 is not taken/],
    [Uint8Array.of(0xc1, 0x00), /tags are not taken/],
    [Uint8Array.of(0x9f, 0xff), /lengths without end/],
    [Uint8Array.of(0x1b, 0, 0, 0, 0, 0, 0, 0, 1), /64-bit integers are not taken/],
    [Uint8Array.of(0xa1, 0x01, 0x01), /a key is not text/],
    [Uint8Array.of(0x9a, 0xff, 0xff, 0xff, 0xff), /4294967295 bytes are announced, 0 are left/],
    [Uint8Array.of(0x5a, 0xff, 0xff, 0xff, 0xff), /4294967295 bytes are announced, 0 are left/],
    [Uint8Array.of(), /1 bytes are announced, 0 are left/],
    [Uint8Array.of(0x80, 0x80), /1 bytes follow its end/],
    [new Uint8Array(200_000).fill(0x81), new RegExp(`nests deeper than ${FRAME_HEADER_DEPTH_MAX}`)],
    [full.encode(new Map([[1, 2]])), /not plain CBOR/],
    [full.encode({ at: new Date(5) }), /tags are not taken/],
    [full.encode([new Set([1]), new Float32Array(1)]), /tags are not taken/],
  ];
  for (const [bytes, reason] of cases) {
    assert.throws(
      () => decodeHeader(bytes),
      (error) => error instanceof BadFrame && reason.test(error.message),
    );
  }
});

Deno.test("a key cannot reach the prototype of objects", () => {
  const bytes = new Encoder({ useRecords: false }).encode(JSON.parse(`{"__proto__": {"polluted": 1}}`));
  const value = decodeHeader(bytes) as Record<string, unknown>;
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.equal(value.polluted, undefined);
});

function turnedAwayOr(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof BadFrame)) throw error;
    assert.match(error.message, /^Cannot take frame: /);
  }
}
