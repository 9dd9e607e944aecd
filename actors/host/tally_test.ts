import assert from "node:assert/strict";
import type { Walk } from "../messages.ts";
import { Tally } from "./tally.ts";

const CORPUS = "a".repeat(64);
const OTHER = "b".repeat(64);

function walk(microBatch: number, round = 0): Walk {
  return { purpose: "train", term: 1, step: 0, round, microBatch, attempt: 1 };
}

Deno.test("a micro-batch counts once, and not after its round is sealed", () => {
  const tally = new Tally();
  assert.ok(tally.isOpenFor(walk(3)));
  tally.count(3, { corpus: CORPUS, loss: undefined });
  assert.equal(tally.isOpenFor(walk(3)), false);
  tally.seal(1);
  tally.seal(0);
  assert.equal(tally.isOpenFor(walk(4, 1)), false);
  assert.ok(tally.isOpenFor(walk(4, 2)));
  tally.unseal();
  assert.ok(tally.isOpenFor(walk(4)));
  assert.equal(tally.isOpenFor(walk(3)), false, "what counts stays when rounds are counted anew");
});

Deno.test("what counts is told by its data and in order, with the losses that are known", () => {
  const tally = new Tally();
  tally.count(10, { corpus: CORPUS, loss: { sum: 2, tokens: 4 } });
  tally.count(9, { corpus: OTHER, loss: undefined });
  tally.count(2, { corpus: CORPUS, loss: { sum: 1, tokens: 4 } });
  assert.deepEqual(tally.held, [
    { corpus: CORPUS, microBatches: [2, 10] },
    { corpus: OTHER, microBatches: [9] },
  ]);
  assert.deepEqual(tally.losses, [{ microBatch: 2, sum: 1, tokens: 4 }, {
    microBatch: 10,
    sum: 2,
    tokens: 4,
  }]);
  assert.deepEqual(tally.microBatches, [10, 9, 2]);
  assert.deepEqual([tally.size, tally.corpusOf(9), tally.corpusOf(8)], [3, OTHER, undefined]);
});

Deno.test("a sum that is spoilt is not blank until it is cleared, and that unseals nothing", () => {
  const tally = new Tally();
  assert.ok(tally.isBlank);
  tally.spoil();
  tally.seal(2);
  assert.equal(tally.isBlank, false);
  tally.clear();
  assert.deepEqual([tally.isBlank, tally.sealedRound], [true, 2]);
  tally.begin();
  assert.equal(tally.sealedRound, -1);
});
