import assert from "node:assert/strict";
import fc from "fast-check";
import { drawInteger, philox, Purpose, unitInterval } from "./order.ts";

const word = fc.integer({ min: 0, max: 0xffff_ffff });

/** Known answers of the authors' library Random123, philox4x32-10. */
const known: readonly [
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
  answer: string,
][] = [
  [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    "408f276d 41c83b0e a20bc7c6 6d5451fd",
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    "d16cfe09 94fdcceb 5001e420 24126ea1",
  ],
];

for (const [counter, key, answer] of known) {
  Deno.test(`philox answers ${answer}`, () => {
    const words = [...philox(key, counter)].map((word) => word.toString(16).padStart(8, "0"));
    assert.equal(words.join(" "), answer);
  });
}

Deno.test("unitInterval stays below one", () => {
  assert.equal(unitInterval(0, 0), 0);
  assert.equal(unitInterval(0xffffffff, 0xffffffff), 1 - 2 ** -53);
});

Deno.test("drawInteger stays in its bound and repeats itself", () => {
  fc.assert(fc.property(word, fc.tuple(word, word, word), fc.integer({ min: 1 }), (seed, place, bound) => {
    const drawn = drawInteger(seed, Purpose.training, place, bound);
    assert.ok(Number.isInteger(drawn) && drawn >= 0 && drawn < bound);
    assert.equal(drawInteger(seed, Purpose.training, place, bound), drawn);
  }));
});

Deno.test("drawInteger spreads evenly, and differently for each purpose", () => {
  const counts = new Array<number>(10).fill(0);
  let same = 0;
  for (let step = 0; step < 10_000; step++) {
    const drawn = drawInteger(1, Purpose.training, [step, 0, 0], 10);
    counts[drawn] += 1;
    if (drawn === drawInteger(1, Purpose.validation, [step, 0, 0], 10)) same += 1;
  }
  for (const count of counts) assert.ok(Math.abs(count - 1000) < 150, `${counts}`);
  assert.ok(Math.abs(same - 1000) < 150, `${same}`);
});
