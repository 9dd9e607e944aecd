import assert from "node:assert/strict";
import { TensorStore } from "./tensor_store.ts";

Deno.test("memory of a freed tensor serves the next of its size", () => {
  const store = new TensorStore("test", 1000);
  const first = store.allocate("f32", [2, 3]);
  store.free(first);
  const other = store.allocate("f32", [5]);
  assert.notEqual(other.data.buffer, first.data.buffer);
  const second = store.allocate("i32", [6]);
  assert.equal(second.data.buffer, first.data.buffer);
  assert.ok(second.data instanceof Int32Array);
});

Deno.test("spare memory is bounded", () => {
  const store = new TensorStore("test", 8);
  const tensors = [0, 1, 2].map(() => store.allocate("f32", [1]));
  for (const tensor of tensors) store.free(tensor);
  const kept = new Set(tensors.slice(1).map(({ data }) => data.buffer));
  const again = [0, 1, 2].map(() => store.allocate("f32", [1]).data.buffer);
  assert.equal(again.filter((buffer) => kept.has(buffer)).length, 2);
  assert.ok(!again.includes(tensors[0].data.buffer));
});

Deno.test("spare memory of a size that nobody asks for makes room for another", () => {
  const store = new TensorStore("test", 64);
  const [stale, used] = [store.allocate("f32", [12]), store.allocate("f32", [4])];
  store.free(stale);
  store.free(used);
  const next = store.allocate("f32", [5]);
  store.free(next);
  assert.equal(store.allocate("f32", [5]).data.buffer, next.data.buffer);
  assert.equal(store.allocate("f32", [4]).data.buffer, used.data.buffer);
  assert.notEqual(store.allocate("f32", [12]).data.buffer, stale.data.buffer);
});

Deno.test("tensors of any number of rows share a few buffers", () => {
  const store = new TensorStore("test", 2 ** 30);
  const buffers = new Set<ArrayBufferLike>();
  for (let rows = 1; rows <= 256; rows++) {
    const tensor = store.allocate("f32", [rows, 64]);
    assert.equal(tensor.data.length, rows * 64);
    assert.ok(tensor.data.buffer.byteLength <= 1.125 * tensor.data.byteLength);
    buffers.add(tensor.data.buffer);
    store.free(tensor);
  }
  assert.ok(buffers.size <= 8 * 8 + 1, `${buffers.size} buffers`);
  assert.equal(store.bytesInUse, 0);
});

Deno.test("pinned memory is not used again, until it is unpinned", () => {
  const store = new TensorStore("test", 1000);
  const tensor = store.allocate("f32", [1]);
  const [first, second] = [store.pin([tensor]), store.pin([tensor])];
  first();
  store.free(tensor);
  assert.notEqual(store.allocate("f32", [1]).data.buffer, tensor.data.buffer);
  second();
});

Deno.test("a tensor can't be freed twice, even when its memory lives again", () => {
  const store = new TensorStore("test", 1000);
  const tensor = store.allocate("f32", [1]);
  store.free(tensor);
  store.allocate("f32", [1]);
  assert.throws(
    () => store.free(tensor),
    new TypeError("Cannot free tensor [1]: test does not hold it, or it was freed"),
  );
  assert.equal(store.bytesInUse, 4);
});
