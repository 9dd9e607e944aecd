import assert from "node:assert/strict";
import { ReferenceDevice } from "./reference/device.ts";
import { Scope } from "./scope.ts";

const host = { dataType: "f32", shape: [2], data: Float32Array.of(1, 2) } as const;

Deno.test("a scope frees what it adopted, also when its block throws", () => {
  const device = new ReferenceDevice();
  assert.throws(() => {
    using scope = new Scope(device);
    scope.adopt(device.upload(host));
    scope.adoptAll({ one: device.upload(host), two: device.upload(host) });
    assert.equal(device.bytesInUse(), 24);
    throw new RangeError("on the way");
  }, RangeError);
  assert.equal(device.bytesInUse(), 0);
});

Deno.test("what a scope releases lives on", () => {
  const device = new ReferenceDevice();
  const keep = (() => {
    using scope = new Scope(device);
    scope.adopt(device.upload(host));
    return scope.release(scope.adopt(device.upload(host)));
  })();
  assert.equal(device.bytesInUse(), 8);
  device.free(keep);
});

Deno.test("a scope releases only what it owns", () => {
  const device = new ReferenceDevice();
  using scope = new Scope(device);
  const tensor = scope.adopt(device.upload(host));
  scope.release(tensor);
  assert.throws(
    () => scope.release(tensor),
    new TypeError("Cannot release tensor: this scope does not own it"),
  );
  device.free(tensor);
});
