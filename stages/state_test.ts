import assert from "node:assert/strict";
import fc from "fast-check";
import { createHash } from "node:crypto";
import { FRAME_HEADER_BYTES_MAX, STATE_PIECES_MAX } from "../actors/limits.ts";
import { fromFrame, type MessageOf, toFrame } from "../actors/messages.ts";
import { encodeFrame } from "../actors/wire/codec.ts";
import { canonicalJson, sliceOf } from "../run/mod.ts";
import { type StageLayout, stageLayout } from "./parameters.ts";
import type { StateManifest } from "./stage.ts";
import {
  BadState,
  checkState,
  checkStateManifest,
  isPiece,
  PIECE_BYTES,
  pieceBytesOf,
  pieceOf,
  PIECES_MAX,
  stateBytes,
  StateHasher,
  stateOffset,
  stateValues,
} from "./state.ts";
import { describe, stateOf, tinyManifest } from "./testing/fixtures.ts";

const manifest = tinyManifest({ stages: 3 });
const layout = stageLayout(manifest.model, sliceOf(manifest, 1));
const state = stateOf(layout, 5, ({ size }) => Float32Array.from({ length: size }, (_, index) => index / 8));

/** A layout of so many numbers, none of which is there. */
function layoutOf(size: number): StageLayout {
  const rest = { offset: 0, start: "ones", decays: false, residual: false } as const;
  return { parameters: [{ name: "x", shape: [size], size, ...rest }], size };
}

/** A layout whose state takes two pieces and a bit. */
const large = layoutOf(Math.ceil(2.1 * PIECE_BYTES / 12));
const largeState = stateOf(large, 1, ({ size }) => new Float32Array(size).fill(0.25));

Deno.test("a state begins with format and step, and holds parameters and moments in order", () => {
  const { bytes } = state;
  assert.equal(new TextDecoder().decode(bytes.subarray(0, 8)), "MURMUST1");
  assert.deepEqual([...bytes.subarray(8, 16)], [5, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(bytes.length, 16 + 12 * layout.size);
  const [gain, query] = layout.parameters;
  assert.deepEqual([...stateValues(layout, bytes, "parameter", gain).subarray(0, 3)], [0, 0.125, 0.25]);
  assert.equal(stateOffset(layout, "parameter", query), 16 + 4 * gain.size);
  assert.equal(stateOffset(layout, "v", gain), 16 + 8 * layout.size);
  assert.ok(stateValues(layout, bytes, "m", query).every((value) => value === 0));
});

Deno.test("the manifest of a state does not change from one release or machine to the next", () => {
  assert.equal(state.manifest.stateHash, "bf3266cc3f46c8e09204cd6e3186a5fd7433cd5343fc75ae55cf75b570835958");
});

Deno.test("pieces are of one length for all but large states, and few enough for one message of any", () => {
  assert.equal(PIECES_MAX, STATE_PIECES_MAX);
  const most = Math.floor((PIECES_MAX * PIECE_BYTES - 16) / 12);
  assert.equal(pieceBytesOf(layoutOf(1)), PIECE_BYTES);
  assert.equal(pieceBytesOf(layoutOf(most)), PIECE_BYTES);
  assert.equal(pieceBytesOf(layoutOf(most + 1)), 2 * PIECE_BYTES);
  // A quarter of a model of seven billion.
  assert.equal(pieceBytesOf(layoutOf(1.75e9)), 8 * PIECE_BYTES);
  fc.assert(fc.property(fc.double({ min: 0, max: 10, noNaN: true }), (logarithm) => {
    const layout = layoutOf(Math.floor(10 ** logarithm));
    const length = pieceBytesOf(layout);
    assert.ok(Number.isInteger(Math.log2(length)));
    assert.ok(Math.ceil(stateBytes(layout) / length) <= PIECES_MAX);
    assert.ok(length === PIECE_BYTES || 2 * stateBytes(layout) / length > PIECES_MAX);
  }));
  assert.throws(() => pieceBytesOf(layoutOf(2e10)), {
    name: "BadState",
    message: "Cannot cut a state of 240000000016 bytes into pieces: 3500 of 67108864 bytes are allowed; " +
      "cut the model into more stages",
  });
  assert.throws(() => new StateHasher(layoutOf(2e10), 0), BadState);
});

/** What a state of gigabytes would say of itself. */
function manifestOf(layout: StageLayout, pieceBytes = pieceBytesOf(layout)): StateManifest {
  const bytes = stateBytes(layout);
  const pieces = Array.from(
    { length: Math.ceil(bytes / pieceBytes) },
    (_, piece) => createHash("sha256").update(`${piece}`).digest("hex"),
  );
  const content = { step: 3, bytes, pieceBytes, pieces };
  const parameters = layout.parameters.map(({ name, shape }) => [name, shape]);
  const said = canonicalJson({ format: "murmuration-state-1", ...content, parameters });
  return { ...content, stateHash: createHash("sha256").update(said).digest("hex") };
}

Deno.test("the manifest of a state of gigabytes travels in one message, and is checked as any other", () => {
  for (const size of [1.75e9, 1.8e10]) {
    const layout = layoutOf(size);
    const manifest = manifestOf(layout);
    checkStateManifest(layout, manifest);
    const offer: MessageOf<"stateOffer"> = { kind: "stateOffer", purpose: "join", ...manifest };
    const frame = toFrame("f".repeat(64), offer);
    const length = encodeFrame(frame).reduce((sum, part) => sum + part.length, 0);
    assert.ok(length < FRAME_HEADER_BYTES_MAX, `${length}`);
    assert.deepEqual(fromFrame("f".repeat(64), frame), offer);
    // Nobody else chooses how long pieces are, and with that what its receiver has to hold.
    for (const pieceBytes of [PIECE_BYTES, 2 * manifest.pieceBytes, manifest.bytes]) {
      assert.throws(() => checkStateManifest(layout, manifestOf(layout, pieceBytes)), {
        name: "BadState",
        message: `Cannot accept state manifest: pieces are ${pieceBytes} bytes long, ` +
          `expected ${manifest.pieceBytes}`,
      });
    }
    const short = { ...manifest, pieces: manifest.pieces.slice(1) };
    assert.throws(() => checkStateManifest(layout, short), /it names \d+ pieces, expected \d+/);
  }
});

Deno.test("a state is hashed the same, in whatever parts it arrives", () => {
  const cut = fc.integer({ min: 1, max: 2 * PIECE_BYTES });
  fc.assert(
    fc.property(fc.array(cut, { maxLength: 4 }), (cuts) => {
      const hasher = new StateHasher(large, 1);
      let rest = largeState.bytes;
      for (const length of cuts) {
        hasher.update(rest.subarray(0, length));
        rest = rest.subarray(length);
      }
      hasher.update(rest);
      assert.deepEqual(hasher.finish(), largeState.manifest);
    }),
    { numRuns: 20 },
  );
});

Deno.test("a state is cut into pieces that prove themselves", () => {
  const { manifest, bytes } = largeState;
  assert.equal(manifest.pieces.length, 3);
  const pieces = manifest.pieces.map((_, index) => pieceOf(manifest, bytes, index));
  assert.deepEqual(pieces.map((piece) => piece.length), [
    PIECE_BYTES,
    PIECE_BYTES,
    bytes.length - 2 * PIECE_BYTES,
  ]);
  pieces.forEach((piece, index) => {
    assert.ok(isPiece(manifest, index, piece));
    assert.ok(!isPiece(manifest, index, piece.subarray(1)));
  });
  assert.ok(!isPiece(manifest, 2, pieces[0]));
  for (const index of [-1, 3, 0.5]) assert.throws(() => pieceOf(manifest, bytes, index), RangeError);
  assert.throws(() => isPiece(manifest, 3, pieces[0]), RangeError);
});

Deno.test("a half state has no manifest", () => {
  const hasher = new StateHasher(layout, 5);
  hasher.update(state.bytes.subarray(1));
  assert.throws(() => hasher.finish(), { name: "TypeError", message: /Cannot hash state/ });
});

Deno.test("a whole state is accepted", () => {
  checkState(layout, state.manifest, state.bytes);
  checkState(large, largeState.manifest, largeState.bytes);
});

Deno.test("the hash of a state depends on layout and step, not only on numbers", () => {
  const renamed = { ...large, parameters: [{ ...large.parameters[0], name: "y" }] };
  assert.notEqual(describe(renamed, 1, largeState.bytes).stateHash, largeState.manifest.stateHash);
  assert.notEqual(describe(large, 2, largeState.bytes).stateHash, largeState.manifest.stateHash);
});

const hash = "0".repeat(64);
const hostileManifests: readonly [why: string, changes: Record<string, unknown>, RegExp][] = [
  ["a negative step", { step: -1 }, /step is -1/],
  ["a step that is no number", { step: "5" }, /step is 5/],
  ["a step of NaN", { step: NaN }, /step is NaN/],
  ["another step", { step: 6 }, /state hash/],
  ["other pieces", { pieceBytes: 1 }, /pieces are 1 bytes long/],
  ["pieces of no length", { pieceBytes: 0 }, /pieces are 0 bytes long/],
  ["another length", { bytes: 7 }, /state is 7 bytes long/],
  ["a length that fills memory", { bytes: 2 ** 53 }, /state is 9007199254740992 bytes long/],
  ["no pieces", { pieces: [] }, /it names 0 pieces, expected 1/],
  ["pieces that are no list", { pieces: "x" }, /it names 1 pieces/],
  ["nothing for pieces", { pieces: undefined }, /it names undefined pieces/],
  ["too many pieces", { pieces: [hash, hash] }, /it names 2 pieces, expected 1/],
  ["a piece without a hash", { pieces: ["x"] }, /piece 0 is named "x"/],
  ["a piece that is no text", { pieces: [7] }, /piece 0 is named a number/],
  ["another piece", { pieces: [hash] }, /state hash/],
  ["another state hash", { stateHash: hash }, /state hash is "0000/],
  ["a state hash that is no text", { stateHash: null }, /state hash is a object/],
];

for (const [why, changes, message] of hostileManifests) {
  Deno.test(`a state manifest with ${why} is refused`, () => {
    const hostile = { ...state.manifest, ...changes } as StateManifest;
    assert.throws(() => checkStateManifest(layout, hostile), { name: "BadState", message });
    assert.throws(() => checkState(layout, hostile, state.bytes), { name: "BadState", message });
  });
}

/** A state that is hashed rightly, and holds this f32 somewhere. */
function stateWith(value: number, at: number): { manifest: StateManifest; bytes: Uint8Array } {
  const bytes = state.bytes.slice();
  new DataView(bytes.buffer).setFloat32(at, value, true);
  return { manifest: describe(layout, 5, bytes), bytes };
}

const [parameter] = layout.parameters;
const hostileStates: readonly [why: string, { manifest: StateManifest; bytes: Uint8Array }, RegExp][] = [
  ["too few bytes", { ...state, bytes: state.bytes.subarray(1) }, /bytes long/],
  ["too many bytes", { ...state, bytes: new Uint8Array(state.bytes.length + 1) }, /bytes long/],
  ["no bytes", { ...state, bytes: new Uint8Array() }, /it is 0 bytes long/],
  ["other bytes", { ...state, bytes: new Uint8Array(state.bytes.length) }, /piece 0 has another hash/],
  ["another format", stateWith(1, 0), /does not begin with its format and step/],
  ["another step inside", stateWith(1, 8), /does not begin with its format and step/],
  ["NaN", stateWith(NaN, stateOffset(layout, "parameter", parameter) + 4), /value 1 of .* is NaN/],
  ["infinity", stateWith(Infinity, stateOffset(layout, "m", parameter)), /value 0 of m of .* is Infinity/],
  ["a negative square", stateWith(-1, stateOffset(layout, "v", parameter)), /value 0 of v of .* is -1/],
];

for (const [why, { manifest, bytes }, message] of hostileStates) {
  Deno.test(`a state with ${why} is refused`, () => {
    assert.throws(() => checkState(layout, manifest, bytes), { name: "BadState", message });
  });
}

Deno.test("a state with any bit flipped is refused", () => {
  const place = fc.nat(state.bytes.length - 1);
  fc.assert(fc.property(place, fc.nat(7), (index, bit) => {
    const flipped = state.bytes.slice();
    flipped[index] ^= 1 << bit;
    assert.throws(() => checkState(layout, state.manifest, flipped), BadState);
  }));
});
