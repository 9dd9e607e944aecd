import assert from "node:assert/strict";
import fc from "fast-check";
import { Problem } from "./problem.ts";
import { Turns } from "./turns.ts";

const never = new AbortController().signal;

Deno.test("turns begin in the order in which they were asked for", async () => {
  const turns = new Turns({ atOnce: 1, waitingMax: 3 });
  const order: number[] = [];
  const first = await turns.take(never);
  const rest = [1, 2, 3].map(async (number) => {
    using _ = await turns.take(never);
    order.push(number);
  });
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await Promise.all(rest);
  assert.deepEqual(order, [1, 2, 3]);
  assert.deepEqual([turns.underWay, turns.waiting], [0, 0]);
});

Deno.test("who leaves the queue is not given a turn, and whose turn has just begun keeps it", async () => {
  const turns = new Turns({ atOnce: 1, waitingMax: 2 });
  const first = await turns.take(never);
  const [leaver, lucky] = [new AbortController(), new AbortController()];
  const left = turns.take(leaver.signal);
  const waits = turns.take(lucky.signal);
  leaver.abort(new Error("gone"));
  await assert.rejects(left, /gone/);
  first[Symbol.dispose]();
  // Its turn has begun; that it is aborted now is its own affair.
  lucky.abort(new Error("too late"));
  assert.equal(turns.underWay, 1);
  (await waits)[Symbol.dispose]();
  assert.equal(turns.underWay, 0);
  await assert.rejects(async () => await turns.take(leaver.signal), /gone/);
});

Deno.test("whatever comes and goes, the bounds hold and nobody waits beside a free place", async () => {
  const commands = fc.array(fc.constantFrom("take", "end", "leave"), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 4 }), commands, async (
      atOnce,
      waitingMax,
      commands,
    ) => {
      const turns = new Turns({ atOnce, waitingMax });
      const held: Disposable[] = [];
      const waiting: AbortController[] = [];
      for (const what of commands) {
        const before = turns.underWay + turns.waiting;
        if (what === "end") held.shift()?.[Symbol.dispose]();
        if (what === "leave") waiting.shift()?.abort(new Error("gone"));
        if (what === "take") {
          const controller = new AbortController();
          const isFull = before === atOnce + waitingMax;
          try {
            const queues = turns.underWay === atOnce;
            const turn = turns.take(controller.signal);
            if (queues) waiting.push(controller);
            turn.then((turn) => {
              const place = waiting.indexOf(controller);
              if (place >= 0) waiting.splice(place, 1);
              held.push(turn);
            }, () => {});
            assert.ok(!isFull);
          } catch (error) {
            assert.ok(error instanceof Problem && isFull);
          }
        }
        await new Promise((resolve) =>
          queueMicrotask(() => queueMicrotask(() => queueMicrotask(() => resolve(0))))
        );
        assert.ok(turns.underWay <= atOnce && turns.waiting <= waitingMax);
        assert.ok(turns.waiting === 0 || turns.underWay === atOnce);
      }
    }),
  );
});
