import assert from "node:assert/strict";
import { elementCount, formatShape, sameShape, shapeRule } from "./shapes.ts";

Deno.test("a rule maps sizes and symbols alike", () => {
  const rule = shapeRule("...N I, O I -> ...N O, 1");
  assert.deepEqual(rule([[2, 3, 4], [5, 4]], {}), [[2, 3, 5], [1]]);
  assert.deepEqual(rule([["B", "T", 4], [5, 4]], {}), [["B", "T", 5], [1]]);
  assert.deepEqual(rule([[4], [5, 4]], {}), [[5], [1]]);
});

Deno.test("a rule takes sizes from attributes", () => {
  const rule = shapeRule<{ readonly heads: number }>("B K -> B H", ({ heads }) => ({
    K: heads * 2,
    H: heads,
  }));
  assert.deepEqual(rule([["B", 6]], { heads: 3 }), [["B", 3]]);
  assert.throws(
    () => rule([["B", 7]], { heads: 3 }),
    new TypeError("input 0 has shape [B, 7], but K is 6"),
  );
});

Deno.test("a rule says what does not fit", () => {
  const rule = shapeRule("...N I, O I, 1 -> O");
  const cases: [(number | string)[][], string][] = [
    [[[2, 3], [5, 4], [1]], "input 1 has shape [5, 4], but I is 3"],
    [[[2, 3], [5], [1]], "input 1 has shape [5], expected [O, I]"],
    [[[2, 3], [5, 3], [2]], "input 2 has shape [2], but 1 is 1"],
    [[["B", "I"], [5, "J"], [1]], "input 1 has shape [5, J], but I is I"],
    [[[], [5, 3], [1]], "input 0 has shape [], expected [...N, I]"],
  ];
  for (const [shapes, message] of cases) {
    assert.throws(() => rule(shapes, {}), new TypeError(message));
  }
});

Deno.test("shapes are compared, counted and printed", () => {
  assert.ok(sameShape([1, "T"], [1, "T"]));
  assert.ok(!sameShape([1], [1, 1]));
  assert.ok(!sameShape(["T"], ["B"]));
  assert.equal(elementCount([]), 1);
  assert.equal(elementCount([2, 3]), 6);
  assert.equal(formatShape([2, "T"]), "[2, T]");
});
