import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import type { Entropy } from "./entropy.ts";
import { SeededEntropy } from "./seeded_entropy.ts";
import { SystemEntropy } from "./system_entropy.ts";

const sources: readonly (readonly [string, () => Entropy])[] = [
  ["seeded", () => new SeededEntropy(7)],
  ["system", () => new SystemEntropy()],
];

for (const [name, make] of sources) {
  Deno.test(`${name} entropy stays in range and covers it evenly`, () => {
    const entropy = make();
    const counts = new Array<number>(10).fill(0);
    let sum = 0;
    const draws = 20_000;
    for (let draw = 0; draw < draws; draw++) {
      const uniform = entropy.uniform();
      assert.ok(uniform >= 0 && uniform < 1);
      sum += uniform;
      counts[entropy.integer(10)]!++;
    }
    // Six standard deviations: one false alarm in a hundred million runs.
    assert.ok(Math.abs(sum / draws - 0.5) < 6 * Math.sqrt(1 / 12 / draws));
    for (const count of counts) {
      assert.ok(Math.abs(count - draws / 10) < 6 * Math.sqrt(draws * 0.09), `${counts}`);
    }
  });

  Deno.test(`${name} entropy draws bytes of any length and refuses empty ranges`, () => {
    const entropy = make();
    for (const length of [0, 1, 3, 4, 5, 33]) assert.equal(entropy.bytes(length).length, length);
    assert.notDeepEqual(entropy.bytes(16), entropy.bytes(16));
    assert.equal(entropy.integer(1), 0);
    for (const bound of [0, -1, 0.5, NaN, Infinity]) {
      assert.throws(() => entropy.integer(bound), /Cannot draw an integer: bound must be/);
    }
  });
}

Deno.test("the same seed repeats, another does not", () => {
  fc.assert(
    fc.property(fc.oneof(fc.integer(), fc.string()), fc.integer(), (seed, other) => {
      const draws = (from: number | string) => {
        const entropy = new SeededEntropy(from);
        return [entropy.uniform(), entropy.integer(1000), ...entropy.bytes(9)];
      };
      assert.deepEqual(draws(seed), draws(seed));
      if (seed !== other) assert.notDeepEqual(draws(seed), draws(other));
    }),
  );
});

Deno.test("a fork depends on its name and not on what was drawn before", () => {
  const early = new SeededEntropy("seed");
  const late = new SeededEntropy("seed");
  late.bytes(100);
  assert.deepEqual(early.fork("router").bytes(8), late.fork("router").bytes(8));
  assert.notDeepEqual(early.fork("router").bytes(8), early.fork("trainer").bytes(8));
  assert.notDeepEqual(early.fork("a").fork("b").bytes(8), early.fork("b").fork("a").bytes(8));
});

Deno.test("the seeded generator is xoshiro128**", () => {
  const entropy = new SeededEntropy(1);
  const expected = referenceWords(1, 4);
  const bytes = entropy.bytes(16);
  const view = new DataView(bytes.buffer);
  assert.deepEqual([0, 4, 8, 12].map((at) => view.getUint32(at, true)), expected);
});

/** xoshiro128** in arbitrary precision, straight from the paper's formulas. */
function referenceWords(seed: number, count: number): number[] {
  const mask = 0xffffffffn;
  const rotate = (word: bigint, bits: bigint) => ((word << bits) | (word >> (32n - bits))) & mask;
  const key = createHash("sha256").update(`number:${seed}`).digest();
  let [a, b, c, d] = [0, 4, 8, 12].map((at) => BigInt(key.readUInt32LE(at))) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const words: number[] = [];
  for (let index = 0; index < count; index++) {
    words.push(Number((rotate((b * 5n) & mask, 7n) * 9n) & mask));
    const shifted = (b << 9n) & mask;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11n);
  }
  return words;
}
