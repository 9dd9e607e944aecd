import assert from "node:assert/strict";
import fc from "fast-check";
import { StepTable } from "./step_table.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);
const LOSS = { sum: 3, tokens: 2 };
const none = new Map<number, never>();

/** A table of two stages whose micro-batches have all been sent once, from `A`. */
function sent(microBatches: number): StepTable {
  const table = new StepTable(2);
  table.begin(microBatches);
  for (const { microBatch } of table.gaps()) table.send({ microBatch, corpus: A });
  return table;
}

Deno.test("a table is full when every stage has counted every micro-batch, each once", () => {
  const table = sent(2);
  assert.equal(table.isFull, false);
  const count = (peer: string, stage: number, microBatch: number, corpus = A) =>
    table.count(peer, stage, { microBatch, corpus }, stage === 1 ? LOSS : undefined);
  assert.ok(count("x", 0, 0));
  assert.equal(count("y", 0, 0), false, "the first report wins");
  assert.equal(count("y", 0, 1, B), false, "of other data it is another micro-batch");
  assert.equal(count("y", 0, 2), false, "there is none");
  assert.equal(table.count("z", 1, { microBatch: 0, corpus: A }, undefined), false, "the loss is missing");
  assert.ok(count("y", 0, 1) && count("z", 1, 0));
  assert.equal(table.isFull, false);
  assert.ok(count("z", 1, 1));
  assert.equal(table.isFull, true);
  assert.deepEqual(table.loss(), { sum: 6, tokens: 4 });
  assert.deepEqual(table.served(), { x: 1, y: 1, z: 2 });
  assert.deepEqual(table.countedBy("z", 1), [0, 1]);
});

Deno.test("what is missing and not under way is sent, and how often is known", () => {
  const table = sent(2);
  assert.deepEqual(table.gaps(), []);
  table.count("x", 0, { microBatch: 0, corpus: A }, undefined);
  assert.equal(table.endWalk(0, 2), false, "another attempt's");
  assert.equal(table.rests(0, 1), false);
  assert.equal(table.endWalk(0, 1), true);
  assert.equal(table.rests(0, 1), true);
  assert.deepEqual(table.gaps(), [{ microBatch: 0, mask: [1], corpus: A }]);
  assert.equal(table.send({ microBatch: 0, corpus: A }), 2);
  assert.equal(table.replays, 1);
  table.count("z", 1, { microBatch: 0, corpus: A }, LOSS);
  assert.equal(table.endWalk(0, 2), false, "it is counted everywhere");
});

Deno.test("what a host says that it holds is taken over whole, or not at all", () => {
  const table = new StepTable(2);
  table.begin(2);
  const held = (...microBatches: number[]) => microBatches.map((microBatch) => ({ microBatch, corpus: A }));
  assert.ok(
    table.takeOver({ peer: "x", stage: 0, held: held(0, 0), losses: none }),
    "one that is named twice",
  );
  assert.equal(table.takeOver({ peer: "y", stage: 0, held: held(1, 0), losses: none }), false);
  assert.equal(table.takeOver({ peer: "y", stage: 0, held: held(1, 2), losses: none }), false);
  assert.equal(
    table.takeOver({ peer: "z", stage: 1, held: held(0), losses: none }),
    false,
    "without its loss",
  );
  const losses = new Map([[0, LOSS], [1, LOSS]]);
  assert.equal(table.takeOver({ peer: "z", stage: 1, held: [{ microBatch: 0, corpus: B }], losses }), false);
  assert.ok(table.takeOver({ peer: "z", stage: 1, held: held(0, 1), losses }));
  assert.equal(table.isFull, false);
  assert.deepEqual(table.gaps(), [{ microBatch: 1, mask: [0], corpus: A }]);
  assert.ok(table.takeOver({ peer: "y", stage: 0, held: held(1), losses: none }));
  assert.equal(table.isFull, true);
});

Deno.test("who has counted an orphan forgets all, and what that leaves without its data is one as well", () => {
  const table = new StepTable(2);
  table.begin(3);
  for (const [microBatch, corpus] of [A, A, B].entries()) table.send({ microBatch, corpus });
  table.count("x", 0, { microBatch: 0, corpus: A }, undefined);
  table.count("x", 0, { microBatch: 1, corpus: A }, undefined);
  table.count("y", 1, { microBatch: 1, corpus: A }, LOSS);
  table.count("w", 0, { microBatch: 2, corpus: B }, undefined);
  assert.equal(table.hasOrphan(new Set([A, B])), false);
  assert.equal(table.hasOrphan(new Set([B])), true);
  // 0 lacks its second stage; without x, 1 is not whole either.
  assert.deepEqual([...table.dropOrphans(new Set([B]))].sort(), ["x", "y"]);
  assert.equal(table.hasOrphan(new Set([B])), false);
  assert.deepEqual(table.countedBy("w", 0), [2]);
  assert.deepEqual(table.cell(0, 0), { owner: undefined, corpus: undefined });
});

Deno.test("whatever happens, it is full exactly when no cell is empty", () => {
  const microBatches = 3;
  const act = fc.record({
    kind: fc.constantFrom("count", "emptyAllOf", "takeOver", "dropOrphans"),
    peer: fc.constantFrom("x", "y"),
    stage: fc.nat(1),
    corpus: fc.constantFrom(A, B),
    numbers: fc.array(fc.nat(microBatches), { maxLength: 4 }),
  });
  fc.assert(
    fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
      const table = sent(microBatches);
      for (const { kind, peer, stage, corpus, numbers } of acts) {
        const held = numbers.map((microBatch) => ({ microBatch, corpus }));
        const losses = new Map(numbers.map((microBatch) => [microBatch, LOSS]));
        if (kind === "count") held.forEach((pair) => table.count(peer, stage, pair, LOSS));
        if (kind === "emptyAllOf") table.emptyAllOf({ peer, stage });
        if (kind === "takeOver") table.takeOver({ peer, stage, held, losses });
        if (kind === "dropOrphans") table.dropOrphans(new Set([corpus]));
        const cells = [0, 1, 2].flatMap((microBatch) =>
          [0, 1].map((at) => table.cell(microBatch, at)!.owner)
        );
        assert.equal(table.isFull, !cells.includes(undefined));
        if (table.isFull) assert.deepEqual(table.loss(), { sum: 9, tokens: 6 });
      }
    }),
  );
});
