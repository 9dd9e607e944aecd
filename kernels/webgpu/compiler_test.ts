import assert from "node:assert/strict";
import { GraphBuilder } from "../graph.ts";
import { CompiledGraph } from "./compiler.ts";
import type { ReadyPlan } from "./ready_plan.ts";
import type { Held } from "./tensors.ts";

/** A graph that counts how often it is planned, and which plans were forgotten. */
function counting() {
  const builder = new GraphBuilder();
  builder.output("y", builder.input("x", "f32", ["B", "S"]));
  const planned: string[] = [];
  const forgotten: unknown[] = [];
  const compiled = new CompiledGraph(
    builder.build(),
    ([{ shape }]) => {
      planned.push(shape.join());
      return Promise.resolve({ ready: { shape } as unknown as ReadyPlan, ranges: [] });
    },
    ({ ready }) => forgotten.push(ready),
  );
  const meet = async (...shape: number[]) => {
    const held = { dataType: "f32", storage: "f32", shape } as unknown as Held;
    assert.deepEqual(await compiled.planFor([held]), { shape });
  };
  return { planned, forgotten, meet, compiled };
}

Deno.test("what up to 16 texts at once meet is planned once, if their lengths differ fourfold at most", async () => {
  const { planned, forgotten, meet } = counting();
  for (let round = 0; round < 2; round++) {
    for (let batch = 1; batch <= 16; batch++) {
      // Blocks of what is past, as runs over sessions round them.
      for (const blocks of [20, 24, 28, 32, 40, 48, 56, 64]) await meet(batch, blocks);
    }
  }
  assert.equal(planned.length, 16 * 8);
  assert.deepEqual(forgotten, []);
});

Deno.test("plans are bounded: what was not met for longest is forgotten, and planned anew", async () => {
  const { planned, forgotten, meet, compiled } = counting();
  for (let size = 1; size <= 1000; size++) await meet(1, size);
  assert.equal(planned.length - forgotten.length, 128);
  await meet(1, 1000);
  assert.equal(planned.length, 1000);
  await meet(1, 1);
  assert.equal(planned.length, 1001);
  compiled.dispose();
  assert.equal(forgotten.length, 1001);
});
