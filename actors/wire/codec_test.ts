import assert from "node:assert/strict";
import fc from "fast-check";
import { FRAME_HEADER_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, FRAME_TENSORS_MAX } from "../limits.ts";
import { encodeFrame, FrameDecoder } from "./codec.ts";
import { encodeHeader } from "./header.ts";
import { BadFrame, type Frame, type WireTensor } from "./wire.ts";

const ELEMENT_BYTES = { f32: 4, i32: 4, u8: 1 } as const;

const tensor: fc.Arbitrary<WireTensor> = fc
  .record({
    dataType: fc.constantFrom("f32" as const, "i32" as const, "u8" as const),
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
    fill: fc.integer({ min: 0, max: 255 }),
  })
  .map(({ dataType, shape, fill }) => {
    const bytes = new Uint8Array(shape.reduce((product, size) => product * size, ELEMENT_BYTES[dataType]));
    bytes.forEach((_, index) => bytes[index] = fill + index);
    return { dataType, shape, bytes };
  });

const frame: fc.Arbitrary<Frame> = fc.record({
  header: fc.record({
    kind: fc.constantFrom("forward", "backward", "processed"),
    step: fc.nat(),
    reason: fc.option(fc.string({ unit: "grapheme" })),
    microBatches: fc.array(fc.nat(), { maxLength: 50 }),
  }, { noNullPrototype: true }),
  tensors: fc.array(tensor, { maxLength: FRAME_TENSORS_MAX }),
}, { noNullPrototype: true });

/** The bytes of frames, as they follow each other in a stream. */
function streamOf(frames: readonly Frame[]): Uint8Array {
  return joined(frames.flatMap(encodeFrame));
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const stream = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    stream.set(piece, at);
    at += piece.byteLength;
  }
  return stream;
}

/** Pushes a stream cut at arbitrary places; the same memory carries every chunk. */
function pushCut(decoder: FrameDecoder, stream: Uint8Array, lengths: Iterable<number>): Frame[] {
  const frames: Frame[] = [];
  const lend = new Uint8Array(stream.byteLength);
  let at = 0;
  for (const length of lengths) {
    if (at >= stream.byteLength) break;
    const chunk = lend.subarray(0, Math.min(length, stream.byteLength - at));
    chunk.set(stream.subarray(at, at + chunk.byteLength));
    frames.push(...decoder.push(chunk));
    at += chunk.byteLength;
  }
  return frames;
}

Deno.test("frames survive however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 5 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 70 })),
      (frames, lengths) => {
        const decoder = new FrameDecoder();
        assert.deepEqual(pushCut(decoder, streamOf(frames), lengths), frames);
        decoder.finish();
        assert.deepEqual([...new FrameDecoder().push(streamOf(frames))], frames);
      },
    ),
  );
});

Deno.test("every tensor is aligned for its elements, and all of a frame share one buffer", () => {
  fc.assert(
    fc.property(frame, (frame) => {
      const [decoded] = new FrameDecoder().push(streamOf([frame]));
      for (const { bytes } of decoded!.tensors) {
        assert.equal(bytes.byteOffset % 8, 0);
        assert.equal(bytes.buffer, decoded!.tensors[0]!.bytes.buffer);
      }
    }),
  );
});

Deno.test("encoding copies no tensor", () => {
  const bytes = new Uint8Array(12);
  const pieces = encodeFrame({ header: {}, tensors: [{ dataType: "f32", shape: [3], bytes }] });
  assert.equal(pieces.length, 2);
  assert.equal(pieces[1], bytes);
});

Deno.test("payload memory comes from the caller, once for each frame, as long as the payload", () => {
  const asked: number[] = [];
  const decoder = new FrameDecoder((bytes) => {
    asked.push(bytes);
    return new Uint8Array(bytes);
  });
  const one = { dataType: "u8", shape: [5], bytes: new Uint8Array(5) } as const;
  const frames: Frame[] = [{ header: 1, tensors: [one, one] }, { header: 2, tensors: [] }, {
    header: 3,
    tensors: [one],
  }];
  assert.equal(pushCut(decoder, streamOf(frames), [7, 1, 1000]).length, 3);
  assert.deepEqual(asked, [13, 5]);
});

Deno.test("an end in the middle of a frame is an error, between frames it is not", () => {
  const tensors = [{ dataType: "i32", shape: [2], bytes: new Uint8Array(8) }] as const;
  const stream = streamOf([{ header: { kind: "forward" }, tensors }]);
  for (let length = 0; length <= stream.byteLength; length++) {
    const decoder = new FrameDecoder();
    const frames = [...decoder.push(stream.subarray(0, length))];
    if (length === 0 || length === stream.byteLength) {
      decoder.finish();
    } else {
      assert.equal(frames.length, 0);
      assert.throws(() => decoder.finish(), {
        name: "BadFrame",
        message: /the stream ended after \d+ of \d+ bytes/,
      });
    }
  }
});

Deno.test("frames before a bad one are delivered; after it nothing is", () => {
  const good = streamOf([{ header: "good", tensors: [] }]);
  const seen: Frame[] = [];
  const decoder = new FrameDecoder();
  assert.throws(() => {
    for (const frame of decoder.push(joined([good, new Uint8Array(16), good]))) seen.push(frame);
  }, BadFrame);
  assert.equal(seen.length, 1);
  assert.throws(() => [...decoder.push(good)], /does not begin with MURM/);
  assert.throws(() => decoder.finish(), /does not begin with MURM/);
});

Deno.test("random bytes and flipped bits give frames or a bad frame, and never take memory above the limit", () => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(frame, fc.array(fc.nat(), { minLength: 1, maxLength: 4 })).map(([frame, flips]) => {
      const stream = streamOf([frame, frame]);
      for (const flip of flips) {
        // Half of the flips hit the first bytes, where the lengths are.
        const bit = flip % 2 === 0 ? flip % (8 * stream.byteLength) : flip % (8 * 48);
        if (bit >> 3 < stream.byteLength) stream[bit >> 3]! ^= 1 << (bit & 7);
      }
      return stream;
    }),
  );
  fc.assert(
    fc.property(hostile, fc.infiniteStream(fc.integer({ min: 1, max: 90 })), (stream, lengths) => {
      const decoder = new FrameDecoder((bytes) => {
        assert.ok(bytes > 0 && bytes <= FRAME_PAYLOAD_BYTES_MAX);
        return new Uint8Array(bytes);
      });
      try {
        pushCut(decoder, stream, lengths);
        decoder.finish();
      } catch (error) {
        if (!(error instanceof BadFrame)) throw error;
        assert.match(error.message, /^Cannot take frame: /);
      }
    }),
    { numRuns: 2000 },
  );
});

/** A frame with lies in it: the prefix and header as given, and no payload. */
function forged(table: unknown, options: { headerBytes?: number; payloadBytes?: number } = {}): Uint8Array {
  const header = encodeHeader(table);
  const prefix = new DataView(new ArrayBuffer(16));
  prefix.setUint32(0, 0x4d52554d, true);
  prefix.setUint8(4, 1);
  prefix.setUint32(8, options.headerBytes ?? header.byteLength, true);
  prefix.setUint32(12, options.payloadBytes ?? 0, true);
  return joined([new Uint8Array(prefix.buffer), header]);
}

Deno.test("lies about tensors and lengths are turned away before memory is taken", () => {
  const many = Array.from({ length: FRAME_TENSORS_MAX + 1 }, () => ["u8", [0]]);
  const cases: readonly (readonly [Uint8Array, RegExp])[] = [
    [
      forged([0, []], { headerBytes: FRAME_HEADER_BYTES_MAX + 1 }),
      /its header has 262145 bytes, at most 262144/,
    ],
    [forged([0, []], { payloadBytes: 2 ** 32 - 1 }), /its payload has 4294967295 bytes, at most/],
    [forged([0, []], { payloadBytes: 1 }), /its payload has 1 bytes, its tensors 0/],
    [forged([0, [["f32", [2]]]], { payloadBytes: 4 }), /its payload has 4 bytes, its tensors 8/],
    [forged([0, [["f32", [2 ** 26 + 1]]]]), /tensor 0 has more than 268435456 bytes/],
    [forged([0, [["f32", [2 ** 20, 2 ** 20, 2 ** 20]]]]), /tensor 0 has more than/],
    [forged([0, [["u8", [2 ** 28]], ["u8", [1]]]]), /its payload has 268435457 bytes, at most/],
    [forged([0, [["f32", [2 ** 53]]]]), /has a dimension of 9007199254740992/],
    [forged([0, [["f32", [-1]]]]), /has a dimension of -1/],
    [forged([0, [["f32", [1.5]]]]), /has a dimension of 1.5/],
    [forged([0, [["f32", [NaN]]]]), /has a dimension of NaN/],
    [forged([0, [["f32", ["2"]]]]), /has a dimension of 2/],
    [forged([0, [["f32", [[1]]]]]), /has a dimension of 1/],
    [forged([0, [["f32", new Array(9).fill(1)]]]), /tensor 0 has 9 dimensions, at most 8/],
    [forged([0, [["f16", [1]]]]), /tensor 0 has an unknown data type/],
    [forged([0, [["toString", [1]]]]), /tensor 0 has an unknown data type/],
    [forged([0, [["f32", null]]]), /tensor 0 has no shape/],
    [forged([0, [["f32"]]]), /row 0 of its table is not a pair/],
    [forged([0, many]), /it has 9 tensors, at most 8/],
    [forged([0]), /its header is not a pair/],
    [forged({ header: 0, table: [] }), /its header is not a pair/],
  ];
  for (const [stream, reason] of cases) {
    const decoder = new FrameDecoder(() => assert.fail("took memory"));
    assert.throws(
      () => [...decoder.push(stream)],
      (error) => error instanceof BadFrame && reason.test(error.message),
      `${reason}`,
    );
  }
});

Deno.test("another version, and flags that mean nothing, are turned away", () => {
  const good = streamOf([{ header: 0, tensors: [] }]);
  const changed = (at: number, value: number) => {
    const stream = good.slice();
    stream[at] = value;
    return stream;
  };
  assert.throws(() => [...new FrameDecoder().push(changed(4, 2))], /its version is 2, this peer speaks 1/);
  for (const at of [5, 6, 7]) {
    assert.throws(() => [...new FrameDecoder().push(changed(at, 1))], /flags that mean nothing/);
  }
});

Deno.test("a frame above a limit never leaves", () => {
  const u8 = (shape: number[], bytes: number): WireTensor => ({
    dataType: "u8",
    shape,
    bytes: new Uint8Array(bytes),
  });
  const encode = (header: unknown, tensors: WireTensor[]) => () => encodeFrame({ header, tensors });
  assert.throws(encode(0, [u8([3], 4)]), /tensor 0 has 4 bytes, its shape 3/);
  assert.throws(encode(0, new Array(9).fill(u8([0], 0))), /it has 9 tensors, at most 8/);
  assert.throws(encode(0, [u8([2 ** 29], 0)]), /has a dimension of 536870912/);
  assert.throws(
    encode(new Uint8Array(FRAME_HEADER_BYTES_MAX), []),
    /its header has \d+ bytes, at most 262144/,
  );
});
