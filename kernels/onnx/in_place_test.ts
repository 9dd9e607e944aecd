import assert from "node:assert/strict";
import { GraphBuilder, type Value } from "../graph.ts";
import { canShareMemory } from "./in_place.ts";
import { inputName, lower, outputName } from "./lower.ts";

/** Whether `w` may be overwritten by its update in a graph. */
function shares(write: (builder: GraphBuilder, w: Value, g: Value) => void): boolean {
  const builder = new GraphBuilder();
  const w = builder.input("w", "f32", ["N", "N"]);
  const g = builder.input("g", "f32", ["N", "N"]);
  write(builder, w, g);
  return canShareMemory(lower(builder.build()), inputName("w"), outputName("w.updated"));
}

Deno.test("an elementwise update is written over its operand", () => {
  assert.ok(shares((builder, w, g) => builder.update("w", builder.op("accumulate", [w, g])[0])));
});

Deno.test("so is one whose readers all come before", () => {
  assert.ok(shares((builder, w, g) => {
    const [product] = builder.op("linear", [g, w]);
    builder.update("w", builder.op("add", [w, product])[0]);
  }));
});

Deno.test("and one that does not read what it replaces", () => {
  assert.ok(shares((builder, w) => builder.update("w", builder.op("zeros", [w])[0])));
});

Deno.test("a reader that may come later forbids it", () => {
  assert.ok(
    !shares((builder, w, g) => {
      builder.update("w", builder.op("accumulate", [w, g])[0]);
      builder.output("y", builder.op("linear", [g, w])[0]);
    }),
  );
});

Deno.test("a matrix product can't be written over its factor", () => {
  assert.ok(!shares((builder, w, g) => builder.update("w", builder.op("linear", [g, w])[0])));
});

Deno.test("a view that is read later forbids it", () => {
  const builder = new GraphBuilder();
  const w = builder.input("w", "f32", ["B", "T", 4]);
  const g = builder.input("g", "f32", ["B", "T", 4]);
  builder.update("w", builder.op("accumulate", [w, g])[0]);
  // Reads w through a reshaped view.
  builder.output("y", builder.op("linearWeightGradient", [w, g])[0]);
  assert.ok(!canShareMemory(lower(builder.build()), inputName("w"), outputName("w.updated")));
});

Deno.test("another input as it stands can't be shared", () => {
  assert.ok(!shares((builder, _w, g) => builder.update("w", g)));
});
