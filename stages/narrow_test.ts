import assert from "node:assert/strict";
import fc from "fast-check";
import { narrow } from "./narrow.ts";
import type { SafetensorsType } from "./safetensors.ts";

/** How a binary format is made up. */
interface Format {
  readonly type: SafetensorsType;
  readonly exponentBits: number;
  readonly fractionBits: number;
}

const HALVES: readonly Format[] = [
  { type: "F16", exponentBits: 5, fractionBits: 10 },
  { type: "BF16", exponentBits: 8, fractionBits: 7 },
];

/** A whole number of 2⁻¹⁴⁹, which every finite f32 is: exact, however small. */
const UNIT = 149;

/** What bits of a format stand for, in units, infinity taken for the next finite number. */
function exact(bits: number, { exponentBits, fractionBits }: Format): bigint {
  const width = exponentBits + fractionBits;
  const magnitude = bits & (2 ** width - 1);
  const exponent = magnitude >>> fractionBits;
  const fraction = magnitude & (2 ** fractionBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  const whole = BigInt(exponent === 0 ? fraction : fraction + 2 ** fractionBits);
  const value = whole << BigInt(Math.max(exponent, 1) - bias - fractionBits + UNIT);
  return bits >> width === 0 ? value : -value;
}

const F32: Format = { type: "F32", exponentBits: 8, fractionBits: 23 };
const absolute = (value: bigint) => value < 0n ? -value : value;
const word = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0];

for (const format of HALVES) {
  const { type, exponentBits, fractionBits } = format;
  const width = exponentBits + fractionBits;
  const narrowed = (value: number) => {
    const bytes = narrow(Float32Array.of(value), type, "it");
    return bytes[0] | bytes[1] << 8;
  };
  const greatest = (2 ** width - 1) - (2 ** fractionBits);
  const anyFloat = fc.oneof(
    fc.float({ noNaN: true, noDefaultInfinity: true }),
    // Near numbers of the format, and half-way between two of them.
    fc.tuple(fc.integer({ min: 0, max: greatest }), fc.integer({ min: -2, max: 2 }), fc.boolean())
      .map(([bits, off, negative]) => {
        const low = exact(bits, format);
        const high = exact(bits + 1, format);
        const middle = Number(low + high) / 2 / 2 ** UNIT;
        const near = new Float32Array(Uint32Array.of(Math.max(0, word(middle) + off)).buffer)[0];
        return negative ? -near : near;
      }),
  ).map(Math.fround).filter(Number.isFinite);

  Deno.test(`numbers become the nearest of ${type}, of two as near the even one`, () => {
    fc.assert(
      fc.property(anyFloat, (value) => {
        const given = exact(word(value), F32);
        const limit = exact(greatest, format) + exact(greatest + 1, format);
        if (2n * absolute(given) >= limit) {
          return assert.throws(() => narrowed(value), { name: "RangeError", message: /Cannot write it as/ });
        }
        const bits = narrowed(value);
        assert.equal(bits >> width === 1, word(value) >>> 31 === 1, "the sign stays, of zero as well");
        const off = absolute(exact(bits, format) - given);
        const magnitude = bits & (2 ** width - 1);
        for (const other of [magnitude - 1, magnitude + 1]) {
          if (other < 0) continue;
          const otherOff = absolute(exact(other, format) - absolute(given));
          assert.ok(off <= otherOff, `${value} became ${bits}, ${other} is nearer`);
          if (off === otherOff) assert.equal(bits & 1, 0, `${value} lies between ${bits} and ${other}`);
        }
      }),
      { numRuns: 20_000 },
    );
  });

  Deno.test(`every finite number of ${type} stays itself`, () => {
    const all = Array.from({ length: greatest + 1 }, (_, bits) => Number(exact(bits, format)) / 2 ** UNIT);
    const bytes = narrow(Float32Array.from(all), type, "all");
    assert.deepEqual(new Uint16Array(bytes.buffer), Uint16Array.from(all, (_, bits) => bits));
  });
}

Deno.test("f32 is written as it is, from wherever in a buffer", () => {
  const values = Float32Array.of(9, 1.5, -0, 2 ** -149, 3.4e38).subarray(1);
  assert.deepEqual(new Float32Array(narrow(values, "F32", "it").buffer), values.slice());
  assert.deepEqual([...narrow(values.subarray(0, 1), "BF16", "it")], [0xc0, 0x3f]);
});

for (const value of [NaN, Infinity, -Infinity]) {
  Deno.test(`${value} is refused in every type`, () => {
    for (const type of ["F32", "F16", "BF16"] as const) {
      assert.throws(() => narrow(Float32Array.of(0, value), type, "lm_head.weight"), {
        name: "RangeError",
        message: `Cannot write lm_head.weight as ${type}: a value is ${value}`,
      });
    }
  });
}
