import assert from "node:assert/strict";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import type { Frame, Wire } from "../actors/wire/wire.ts";
import type { Lie } from "./faults.ts";
import { LyingWire } from "./lying_wire.ts";

const numbers = new Uint8Array(Float32Array.of(1, 2).buffer);
const frame = (header: Record<string, unknown>): Frame => ({
  header,
  tensors: [{ dataType: "f32", shape: [2], bytes: numbers }],
});

/** What a host that lies like this says in the place of a frame. */
function said(lies: readonly Lie[], words: Frame): Frame[] {
  const sent: Frame[] = [];
  const wire: Wire = {
    self: "liar",
    open: () => {},
    send: (_, it) => sent.push(it) > 0,
    close: () => Promise.resolve(),
  };
  assert.equal(new LyingWire(wire, new SeededEntropy(1), () => lies).send("honest", words), true);
  return sent;
}

Deno.test("who does not lie at the moment says what it says", () => {
  const words = frame({ kind: "piece", hash: "x" });
  assert.deepEqual(said([], words), [words]);
});

Deno.test("each lie changes what it is about, and never what the host itself holds", () => {
  const [piece] = said(["pieces"], frame({ kind: "piece" }));
  assert.notDeepEqual(piece.tensors[0].bytes, numbers);
  const [hashed] = said(["hashes"], frame({ kind: "applied", stateHash: "x", step: 3 }));
  assert.deepEqual(hashed.header, { kind: "applied", stateHash: "ab".repeat(32), step: 3 });
  const [part] = said(["notFinite"], frame({ kind: "part" }));
  assert.ok(new Float32Array(part.tensors[0].bytes.buffer).every(Number.isNaN));
  assert.deepEqual(said(["silence"], frame({ kind: "backward" })), []);
  assert.equal(said(["silence"], frame({ kind: "hello" })).length, 1);
  const walk = { step: 1, microBatch: 40 };
  const [report] = said(["reports"], frame({ kind: "accumulated", walk })) as {
    header: { walk: typeof walk };
  }[];
  assert.notEqual(report.header.walk.microBatch, 40);
  assert.deepEqual([...new Float32Array(numbers.buffer)], [1, 2]);
});
