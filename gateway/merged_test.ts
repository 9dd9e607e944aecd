import assert from "node:assert/strict";
import { merged } from "./merged.ts";

/** Yields numbers as they are let out. */
async function* numbers(
  gates: readonly Promise<number>[],
  ended: () => void = () => {},
): AsyncGenerator<number, void, void> {
  try {
    for (const gate of gates) yield await gate;
  } finally {
    ended();
  }
}

Deno.test("items come in the order in which they are there, each with where it is from", async () => {
  const late = Promise.withResolvers<number>();
  const got: [number, number][] = [];
  for await (
    const { index, item } of merged([
      numbers([late.promise, Promise.resolve(2)]),
      numbers([Promise.resolve(3), Promise.resolve(4)]),
    ], () => {})
  ) {
    got.push([index, item]);
    if (item === 4) late.resolve(1);
  }
  assert.deepEqual(got, [[1, 3], [1, 4], [0, 1], [0, 2]]);
});

Deno.test("one that fails ends all, and so does whoever breaks off: what waits is told first", async () => {
  for (const fails of [true, false]) {
    const stuck = Promise.withResolvers<number>();
    let ended = 0;
    const sequence = merged([
      numbers([stuck.promise], () => ended++),
      numbers(
        [Promise.resolve(1), fails ? Promise.reject(new Error("it broke")) : stuck.promise],
        () => ended++,
      ),
    ], () => stuck.reject(new Error("over")));
    const walk = async () => {
      for await (const _ of sequence) if (!fails) break;
    };
    if (fails) await assert.rejects(walk, /it broke/);
    else await walk();
    assert.equal(ended, 2);
  }
});
