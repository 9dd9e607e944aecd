import assert from "node:assert/strict";
import { ReferenceDevice } from "../kernels/reference/device.ts";
import { readAhead } from "./read_ahead.ts";
import { LateDevice } from "./testing/late_device.ts";

const scalar = (value: number) => ({ dataType: "f32", shape: [1], data: Float32Array.of(value) } as const);

Deno.test("tensors come in their order, and the next are on their way while one is waited for", async () => {
  const device = new LateDevice();
  const tensors = [1, 2, 3].map((value) => device.upload(scalar(value)));
  device.hold();
  const read = readAhead(device, tensors);
  const first = read.next();
  await Promise.resolve();
  assert.equal(device.downloads, 3);
  device.arrive();
  assert.equal((await first).value?.data[0], 1);
  const rest = [];
  for await (const { data } of read) rest.push(data[0]);
  assert.deepEqual(rest, [2, 3]);
});

Deno.test("a device that computes in the call is asked for one at a time", async () => {
  const device = new ReferenceDevice();
  const tensors = [1, 2].map((value) => device.upload(scalar(value)));
  const read = readAhead(device, tensors);
  await read.next();
  device.write(tensors[1], Float32Array.of(5));
  assert.equal((await read.next()).value?.data[0], 5);
});

Deno.test("a tensor that can't be read fails in its turn; whoever stops before it hears nothing", async () => {
  const device = new LateDevice();
  const tensors = [1, 2].map((value) => device.upload(scalar(value)));
  device.free(tensors[1]);
  const read = readAhead(device, tensors);
  assert.equal((await read.next()).value?.data[0], 1);
  await assert.rejects(read.next(), /does not hold it/);
  for await (const { data } of readAhead(device, tensors)) {
    assert.equal(data[0], 1);
    break;
  }
});
