import assert from "node:assert/strict";
import fc from "fast-check";
import { FairQueue } from "./fair_queue.ts";

Deno.test("owners take turns, and of each the oldest goes first", () => {
  const queue = new FairQueue<string, number>();
  for (const item of [1, 2, 3, 4]) queue.push("busy", item);
  queue.push("quiet", 5);
  assert.deepEqual(queue.take(3), [1, 5, 2]);
  queue.push("quiet", 6);
  assert.deepEqual(queue.take(1), [3]);
  assert.deepEqual(queue.take(9), [6, 4]);
  assert.equal(queue.size, 0);
});

Deno.test("nobody is passed over by more than one item of each other owner", () => {
  const owner = fc.integer({ min: 0, max: 5 });
  const step = fc.oneof(fc.record({ push: owner }), fc.record({ take: fc.integer({ min: 1, max: 4 }) }));
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const queue = new FairQueue<number, string>();
    const waiting = new Map<number, string[]>();
    // How often others were served since this owner's oldest has waited.
    const passedOver = new Map<number, Map<number, number>>();
    steps.forEach((step, at) => {
      if ("push" in step) {
        const own = waiting.get(step.push) ?? [];
        waiting.set(step.push, [...own, `${step.push} ${at}`]);
        if (own.length === 0) passedOver.set(step.push, new Map());
        return queue.push(step.push, `${step.push} ${at}`);
      }
      for (const item of queue.take(step.take)) {
        const owner = Number(item.split(" ")[0]);
        assert.equal(waiting.get(owner)?.shift(), item);
        passedOver.set(owner, new Map());
        for (const [other, counts] of passedOver) {
          if (other === owner || waiting.get(other)!.length === 0) continue;
          counts.set(owner, (counts.get(owner) ?? 0) + 1);
          assert.ok(counts.get(owner)! <= 2, `${owner} went before ${other} ${counts.get(owner)} times`);
        }
      }
      const left = [...waiting.values()].reduce((sum, { length }) => sum + length, 0);
      assert.equal(queue.size, left);
    });
  }));
});

Deno.test("what waits no more is not taken", () => {
  const queue = new FairQueue<string, number>();
  queue.push("a", 1);
  queue.push("a", 2);
  queue.delete("a", 1);
  queue.delete("a", 1);
  queue.delete("b", 2);
  assert.deepEqual([queue.size, queue.take(5), queue.take(5)], [1, [2], []]);
});
