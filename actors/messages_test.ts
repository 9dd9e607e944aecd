import assert from "node:assert/strict";
import fc from "fast-check";
import {
  fromFrame,
  type MessageOf,
  recipientOf,
  type RemoteMessage,
  toFrame,
  type Walk,
} from "./messages.ts";
import { BadFrame, type Frame } from "./wire/wire.ts";
import { GREEDY } from "../run/mod.ts";

const RUN = "a".repeat(64);
const WALK: Walk = { purpose: "train", term: 1, step: 3, round: 0, microBatch: 1, attempt: 1 };

const FORWARD: RemoteMessage = {
  kind: "forward",
  walk: WALK,
  stage: 1,
  mask: [1, 2],
  corpus: "d".repeat(64),
  trainer: "trainer",
  coordinator: "trainer",
  input: { dataType: "f32", shape: [1, 2, 2], data: new Float32Array([1, 2, 3, 4]) },
  targets: { dataType: "i32", shape: [1, 2], data: new Int32Array([5, -1]) },
};

const EXTEND: MessageOf<"extend"> = {
  kind: "extend",
  stage: 1,
  parts: [{
    session: "e".repeat(32),
    position: 0,
    count: 2,
    draws: true,
    spentMs: [1.5],
    opening: { home: "home", path: ["a", "b"], sampling: GREEDY, promptTokens: 2, tokensMax: 8 },
  }],
  tokens: { dataType: "i32", shape: [2], data: new Int32Array([5, 6]) },
  hidden: { dataType: "f32", shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) },
};

Deno.test("a message survives the way into a frame and back", () => {
  const { targets: _, ...untargeted } = FORWARD as Extract<RemoteMessage, { kind: "forward" }>;
  const piece: RemoteMessage = {
    kind: "piece",
    purpose: "join",
    stateHash: "b".repeat(64),
    piece: 4,
    bytes: new Uint8Array([1, 2]),
  };
  const prepared: RemoteMessage = {
    kind: "prepared",
    term: 1,
    step: 1,
    round: 2,
    stateHash: "c".repeat(64),
    held: [{ corpus: "d".repeat(64), microBatches: [0, 3] }],
  };
  const { hidden: _hidden, ...first } = EXTEND;
  for (const message of [FORWARD, untargeted, piece, prepared, EXTEND, first] as RemoteMessage[]) {
    assert.deepEqual(fromFrame(RUN, toFrame(RUN, message)), message);
  }
});

Deno.test("what is not a message of this run is a bad frame, with the reason", () => {
  const good = toFrame(RUN, FORWARD);
  const header = good.header as Record<string, unknown>;
  const talk = toFrame(RUN, EXTEND);
  const talkHeader = talk.header as Record<string, unknown>;
  const [part] = EXTEND.parts;
  const opening = part.opening;
  const withPart = (changed: object) => ({
    ...talk,
    header: { ...talkHeader, parts: [{ ...part, ...changed }] },
  });
  const table: [string, Frame, RegExp][] = [
    ["no object", { header: 7, tensors: [] }, /header is 7/],
    ["another run", { ...good, header: { ...header, run: "b" } }, /it is of run b/],
    ["unknown kind", { ...good, header: { ...header, kind: "reboot" } }, /kind reboot/],
    ["unknown field", { ...good, header: { ...header, extra: 1 } }, /kind forward/],
    ["negative stage", { ...good, header: { ...header, stage: -1 } }, /stage/],
    ["fractional step", { ...good, header: { ...header, walk: { ...WALK, step: 0.5 } } }, /walk.step/],
    ["not a number", { ...good, header: { ...header, walk: { ...WALK, step: NaN } } }, /walk.step/],
    ["no session", { ...talk, header: { ...talkHeader, parts: [] } }, /parts/],
    ["session without a name", withPart({ session: "1" }), /parts.0.session/],
    ["no tokens", withPart({ count: 0 }), /parts.0.count/],
    ["unheard-of path", withPart({ opening: { ...opening, path: [] } }), /opening.path/],
    ["unheard-of sampling", withPart({ opening: { ...opening, sampling: { topP: 2 } } }), /opening.sampling/],
    ["tensor missing", { header: { ...header, tensors: [] }, tensors: [] }, /tensor input is missing/],
    ["tensors unnamed", { ...good, header: { ...header, tensors: [] } }, /2 tensors/],
    ["tensor named twice", { ...good, header: { ...header, tensors: ["input", "input"] } }, /2 tensors/],
    [
      "tensor of no name",
      { ...good, header: { ...header, tensors: ["input", "__proto__"] } },
      /no tensor is named/,
    ],
  ];
  for (const [name, frame, expected] of table) {
    assert.throws(
      () => fromFrame(RUN, frame),
      (error) => error instanceof BadFrame && expected.test(error.message),
      name,
    );
  }
});

Deno.test("arbitrary headers never do worse than a bad frame", () => {
  const value = fc.oneof(fc.anything(), fc.constantFrom("forward", "apply", RUN, WALK));
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom("run", "kind", "walk", "stage", "tensors", "step"), value),
      (header) => {
        try {
          fromFrame(RUN, { header: { run: RUN, ...header }, tensors: [] });
        } catch (error) {
          assert.ok(error instanceof BadFrame, String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("replies go to the role that sent the walk", () => {
  const admitted = (stage: number): RemoteMessage => ({ kind: "admitted", walk: WALK, stage });
  assert.equal(recipientOf(admitted(0)), "trainer");
  assert.equal(recipientOf(admitted(2)), "host");
  assert.equal(recipientOf(FORWARD), "host");
});
