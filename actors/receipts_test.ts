import assert from "node:assert/strict";
import { WORK_NOTES_MAX, WORK_STEPS_KEPT } from "./limits.ts";
import { NO_ROOT, requestOf, rootOf, rootText, WorkLog, type WorkNote } from "./receipts.ts";

const RUN = "ab".repeat(32);
const [IN, OUT] = ["1", "2"].map((digit) => digit.repeat(64));

function note(step: number, microBatch: number, change: Partial<WorkNote> = {}): WorkNote {
  const walk = { purpose: "train", term: 1, step, round: 0, microBatch, attempt: 0 } as const;
  return { walk, stage: 1, previous: "ada", next: "ben", inRoot: IN, outRoot: OUT, counted: true, ...change };
}

Deno.test("a host has worked what it counted of a step, each micro-batch as it was counted last", () => {
  const log = new WorkLog(RUN);
  log.note(note(4, 2));
  const first = note(4, 1);
  const again = { ...first, walk: { ...first.walk, round: 1 }, previous: "eve" };
  for (const it of [first, again, note(4, 0, { counted: false }), note(4, 3), note(5, 1)]) log.note(it);
  const worked = log.counted(4, [0, 1, 2]).map(({ walk, previous }) => [walk.microBatch, previous]);
  assert.deepEqual(worked, [[1, "eve"], [2, "ada"]]);
});

Deno.test("a neighbour's claim is confirmed where it says who gave what to whom", () => {
  const log = new WorkLog(RUN);
  const it = note(4, 0);
  log.note(it);
  const request = requestOf(RUN, it.walk);
  const after = { request, inRoot: rootText(OUT), outRoot: NO_ROOT };
  const before = { request, inRoot: NO_ROOT, outRoot: rootText(IN) };
  assert.equal(log.confirms("ben", 2, after), true);
  assert.equal(log.confirms("ada", 0, before), true);
  assert.equal(log.confirms("eve", 2, after), false, "another peer");
  assert.equal(log.confirms("ben", 3, after), false, "another stage");
  assert.equal(log.confirms("ben", 0, after), false, "the other side");
  assert.equal(log.confirms("ben", 2, { ...after, inRoot: rootText(IN) }), false, "another input");
  assert.equal(log.confirms("ada", 0, { ...before, outRoot: rootText(OUT) }), false, "another output");
  assert.equal(log.confirms("ben", 2, { ...after, request: NO_ROOT }), false, "another walk");
});

Deno.test("a trainer confirms who came back, whatever it was that went out", () => {
  const log = new WorkLog(RUN);
  const it = note(4, 0, { stage: -1, previous: "me", next: "ada", inRoot: null, outRoot: null });
  log.note(it);
  const claim = { request: requestOf(RUN, it.walk), inRoot: rootText(IN), outRoot: NO_ROOT };
  assert.equal(log.confirms("ada", 0, claim), true);
  assert.equal(log.confirms("ben", 0, claim), false);
});

Deno.test("old steps are forgotten, and no more is kept than has a bound", () => {
  const log = new WorkLog(RUN);
  for (let step = 0; step < 2 * WORK_STEPS_KEPT; step++) log.note(note(step, 0));
  assert.equal(log.size, WORK_STEPS_KEPT);
  for (let microBatch = 0; microBatch < WORK_NOTES_MAX + 10; microBatch++) log.note(note(1_000, microBatch));
  assert.equal(log.size, WORK_NOTES_MAX);
});

Deno.test("a root is of shape and values", () => {
  const data = Float32Array.of(1, 2, 3, 4);
  const root = rootOf({ dataType: "f32", shape: [2, 2], data });
  assert.match(root, /^[0-9a-f]{64}$/);
  assert.equal(rootOf({ dataType: "f32", shape: [2, 2], data: data.slice() }), root);
  assert.notEqual(rootOf({ dataType: "f32", shape: [4], data }), root);
  assert.notEqual(rootOf({ dataType: "f32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 5) }), root);
});
