import assert from "node:assert/strict";
import { Recent } from "./recent.ts";

Deno.test("what was not asked for longest is forgotten", () => {
  const recent = new Recent<number>(2);
  recent.set("a", 1);
  recent.set("b", 2);
  assert.equal(recent.get("a"), 1);
  recent.set("c", 3);
  assert.equal(recent.size, 2);
  assert.equal(recent.get("b"), undefined);
  assert.equal(recent.get("a"), 1);
  recent.set("a", 4);
  assert.equal(recent.size, 2);
  assert.equal(recent.get("a"), 4);
});

Deno.test("whatever is forgotten is told of, once", () => {
  const forgotten: number[] = [];
  const recent = new Recent<number>(1, (item) => forgotten.push(item));
  recent.set("a", 1);
  recent.set("a", 2);
  recent.set("b", 3);
  recent.delete("a");
  recent.clear();
  recent.clear();
  assert.deepEqual(forgotten, [1, 2, 3]);
});
