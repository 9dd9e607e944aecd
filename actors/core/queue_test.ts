import assert from "node:assert/strict";
import fc from "fast-check";
import { Queue } from "./queue.ts";

Deno.test("a queue keeps order while it grows and wraps", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 500 }), (pushes) => {
      const queue = new Queue<number>();
      const model: number[] = [];
      pushes.forEach((push, index) => {
        if (push) {
          queue.push(index);
          model.push(index);
        } else {
          assert.equal(queue.peek(), model[0]);
          assert.equal(queue.shift(), model.shift());
        }
        assert.equal(queue.size, model.length);
      });
    }),
  );
});

Deno.test("a cleared queue is empty and usable", () => {
  const queue = new Queue<number>();
  queue.push(1);
  queue.clear();
  assert.equal(queue.peek(), undefined);
  assert.equal(queue.shift(), undefined);
  queue.push(2);
  assert.equal(queue.shift(), 2);
});
