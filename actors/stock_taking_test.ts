import assert from "node:assert/strict";
import type { MessageOf } from "./messages.ts";
import { StepTable } from "./step_table.ts";
import { compareSums, takeStock } from "./stock_taking.ts";

const CORPUS = "a".repeat(64);
const OTHER = "b".repeat(64);
const STATE = "5".repeat(64);
const X = { peer: "x", stage: 0 };
const Y = { peer: "y", stage: 0 };

/** A table of one of two stages: x has counted 0 and 1, y has counted 2. */
function counted(): StepTable {
  const table = new StepTable(2);
  table.begin(4);
  for (const { microBatch } of table.gaps()) table.send({ microBatch, corpus: CORPUS });
  for (const [peer, microBatch] of [["x", 0], ["x", 1], ["y", 2]] as const) {
    table.count(peer, 0, { microBatch, corpus: CORPUS }, undefined);
  }
  return table;
}

function prepared(microBatches: number[], corpus = CORPUS, stateHash = STATE): MessageOf<"prepared"> {
  return { kind: "prepared", term: 1, step: 0, round: 0, stateHash, held: [{ corpus, microBatches }] };
}

function stockOf(x: MessageOf<"prepared">, y: MessageOf<"prepared">) {
  return takeStock([X, Y], new Map([["x", x], ["y", y]]), [STATE], counted());
}

const NOTHING = { strayed: [], surplus: [], missing: [], quarrels: [], agrees: true };

Deno.test("hosts that hold what the table says agree, in whatever order they say it", () => {
  assert.deepEqual(stockOf(prepared([1, 0]), prepared([2])), NOTHING);
});

Deno.test("who holds too little has to have it replayed, and contradicts what it reported", () => {
  assert.deepEqual(stockOf(prepared([0]), prepared([2])), {
    ...NOTHING,
    missing: [{ microBatch: 1, stage: 0 }],
    quarrels: [{ accused: "x", accuser: "x" }],
    agrees: false,
  });
});

Deno.test("who holds what another has counted, and holds, contradicts that one", () => {
  assert.deepEqual(stockOf(prepared([0, 1, 2]), prepared([2])), {
    ...NOTHING,
    surplus: [X],
    quarrels: [{ accused: "x", accuser: "y" }],
    agrees: false,
  });
});

Deno.test("of what its owner does not hold nobody else is accused, but the owner", () => {
  assert.deepEqual(stockOf(prepared([0, 1, 2]), prepared([])), {
    ...NOTHING,
    surplus: [X],
    missing: [{ microBatch: 2, stage: 0 }],
    quarrels: [{ accused: "y", accuser: "y" }],
    agrees: false,
  });
});

Deno.test("what nobody has counted is nobody's to deny; what is in no table is one's own lie", () => {
  assert.deepEqual(stockOf(prepared([0, 1, 3]), prepared([2])), { ...NOTHING, surplus: [X], agrees: false });
  assert.deepEqual(stockOf(prepared([0, 1, 9]), prepared([2])).quarrels, [{ accused: "x", accuser: "x" }]);
});

Deno.test("of other data the same number is another micro-batch", () => {
  const { surplus, quarrels } = stockOf(prepared([0, 1], OTHER), prepared([2]));
  assert.deepEqual(surplus, [X]);
  assert.deepEqual(new Set(quarrels.map(({ accuser }) => accuser)), new Set(["x"]));
});

Deno.test("what a host holds at another state is not looked at", () => {
  assert.deepEqual(stockOf(prepared([0, 1, 2], CORPUS, "0".repeat(64)), prepared([2])), {
    ...NOTHING,
    strayed: [X],
    quarrels: [{ accused: "x", accuser: "x" }],
    agrees: false,
  });
});

function sumsOf(sums: readonly (readonly [peer: string, stage: number, hash: string, squareSum: number])[]) {
  const reports = sums.map(([peer, , hash, squareSum]) =>
    [peer, { kind: "reduced", term: 1, step: 0, round: 0, hash, squareSum } as const] as const
  );
  return compareSums(sums.map(([peer, stage]) => ({ peer, stage })), new Map(reports));
}

Deno.test("sums that agree are added up once for each stage", () => {
  assert.deepEqual(sumsOf([["x", 1, "b", 4], ["y", 0, "a", 3], ["z", 1, "b", 4]]), {
    kind: "agreed",
    squareSum: 7,
  });
});

Deno.test("of sums that differ most are believed, and of as many those who came first", () => {
  assert.deepEqual(sumsOf([["x", 0, "a", 3], ["y", 0, "b", 3], ["z", 0, "b", 3]]), {
    kind: "split",
    others: ["x"],
  });
  assert.deepEqual(sumsOf([["x", 0, "a", 3], ["other", 1, "c", 1], ["y", 0, "a", 4]]), {
    kind: "split",
    others: ["y"],
  });
});
