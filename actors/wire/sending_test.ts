import assert from "node:assert/strict";
import fc from "fast-check";
import { SEND_QUEUE_BYTES_MAX, SEND_QUEUE_FRAMES_MAX } from "../limits.ts";
import { CHUNK_BYTES, SendQueue } from "./sending.ts";

function flatten(parts: Iterable<Uint8Array>): number[] {
  return [...parts].flatMap((part) => [...part]);
}

Deno.test("what goes in comes out in order, in chunks that are not too large", async () => {
  const piece = fc.uint8Array({ maxLength: 20 });
  await fc.assert(fc.asyncProperty(fc.array(fc.array(piece, { minLength: 1 })), async (frames) => {
    const queue = new SendQueue();
    const expected = frames.flatMap(flatten);
    for (const frame of frames) assert.ok(queue.push([Uint8Array.of(1), ...frame]));
    queue.end();
    const got: number[] = [];
    for await (const chunk of queue) {
      assert.ok(chunk.byteLength > 0 && chunk.byteLength <= CHUNK_BYTES);
      got.push(...chunk.subarray());
    }
    assert.equal(got.length, expected.length + frames.length);
    assert.deepEqual(got, frames.flatMap((frame) => [1, ...flatten(frame)]));
    assert.deepEqual([queue.bytes, queue.frames], [0, 0]);
  }));
});

Deno.test("a large frame is cut without being copied", async () => {
  const queue = new SendQueue();
  const tensor = new Uint8Array(2 * CHUNK_BYTES + 5);
  queue.push([tensor]);
  queue.end();
  const lengths: number[] = [];
  for await (const chunk of queue) {
    lengths.push(chunk.byteLength);
    for (const part of chunk) assert.equal(part.buffer, tensor.buffer);
  }
  assert.deepEqual(lengths, [CHUNK_BYTES, CHUNK_BYTES, 5]);
});

Deno.test("frames pushed while the reader waits leave at once", async () => {
  const queue = new SendQueue();
  const chunks = queue[Symbol.asyncIterator]();
  const waiting = chunks.next();
  queue.push([Uint8Array.of(1)]);
  queue.push([Uint8Array.of(2)]);
  assert.deepEqual([...(await waiting).value!.subarray()], [1, 2]);
  const last = chunks.next();
  queue.end();
  assert.equal((await last).done, true);
});

Deno.test("the queue has room for so many bytes, and so many frames, and no more", async () => {
  const full = new SendQueue();
  const half = new Uint8Array(SEND_QUEUE_BYTES_MAX / 2);
  assert.deepEqual([half, half, Uint8Array.of(1)].map((piece) => full.push([piece])), [true, true, false]);
  await full[Symbol.asyncIterator]().next();
  assert.equal(full.push([Uint8Array.of(1)]), true, "what has left makes room");

  const many = new SendQueue();
  for (let frame = 0; frame < SEND_QUEUE_FRAMES_MAX; frame++) assert.ok(many.push([Uint8Array.of(1)]));
  assert.equal(many.push([Uint8Array.of(1)]), false);
});

Deno.test("a queue that was cleared takes and gives nothing", async () => {
  const queue = new SendQueue();
  queue.push([Uint8Array.of(1)]);
  queue.clear();
  assert.equal(queue.push([Uint8Array.of(1)]), false);
  assert.equal((await queue[Symbol.asyncIterator]().next()).done, true);
  assert.deepEqual([queue.bytes, queue.frames], [0, 0]);
});
