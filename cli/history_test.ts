import assert from "node:assert/strict";
import fc from "fast-check";
import { stepEvent } from "./fixtures/events.ts";
import { History, POINTS_MAX, smooth } from "./history.ts";

Deno.test("a history gathers curve, speed, replays and who did what", () => {
  const history = new History();
  history.add({ kind: "joined", peer: "a", stage: 1, step: 0 });
  history.add({ kind: "joined", peer: "b", stage: 0, step: 0 });
  history.add(stepEvent(1, { loss: 4, served: { a: 2, b: 3 }, seconds: 1, tokens: 300 }));
  history.add({ kind: "lost", peer: "a", stage: 1, step: 1, reason: "gone" });
  history.add(stepEvent(2, { loss: 2, served: { b: 3, c: 2 }, replays: 2, seconds: 3, tokens: 300 }));
  history.add({ kind: "validation", step: 2, loss: 3, tokens: 10 });
  history.add({ kind: "done", step: 2 });

  assert.deepEqual(history.losses, [{ step: 1, loss: 4 }, { step: 2, loss: 2 }]);
  assert.deepEqual(history.validations, [{ step: 2, loss: 3 }]);
  assert.deepEqual(history.workers, [
    { peer: "b", stage: 0, microBatches: 6, lost: false },
    { peer: "a", stage: 1, microBatches: 2, lost: true },
    { peer: "c", stage: undefined, microBatches: 2, lost: false },
  ]);
  assert.deepEqual([history.steps, history.replays, history.tokensPerSecond], [2, 2, 150]);
  assert.equal(history.marks.length, 3);
});

Deno.test("a long run keeps its curve's shape in bounded room", () => {
  const history = new History();
  const steps = 3 * POINTS_MAX + 17;
  for (let step = 1; step <= steps; step++) history.add(stepEvent(step, { loss: step }));
  for (let peer = 0; peer < 5000; peer++) {
    history.add({ kind: "joined", peer: `${peer}`, stage: 0, step: peer });
  }
  assert.ok(history.losses.length < POINTS_MAX);
  assert.ok(history.losses.at(-1)!.step > steps - 8);
  for (const { step, loss } of history.losses) assert.ok(step - loss >= 0 && step - loss < 4);
  assert.ok(history.marks.length <= 256 && history.workers.length <= 1024);
});

Deno.test("smoothing keeps a straight line where it is, whatever the reach", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 60 }),
      fc.double({ min: 0, max: 50, noNaN: true }),
      (length, reach) => {
        const points = Array.from({ length }, (_, index) => ({ step: index, loss: 2 * index }));
        smooth(points, reach).forEach(({ loss }, index) => assert.ok(Math.abs(loss - 2 * index) < 1e-9));
      },
    ),
  );
});
