import assert from "node:assert/strict";
import { ReferenceDevice, Scope } from "../kernels/mod.ts";
import { OPS } from "../kernels/ops.ts";
import { kernelCases, prepareCase, sizesFor } from "./gpu_kernels.ts";

const SIZES = sizesFor(16);

/** Ops that only copy, or add up what another op has made. */
const LEFT_OUT = ["accumulate", "takeLast", "takeLastGradient", "zeros"];

Deno.test("every op that a step spends time on is measured", () => {
  const measured = kernelCases(SIZES).flatMap(({ op, backward }) =>
    op === "linear"
      ? [op, "linearInputGradient", "linearWeightGradient"]
      : backward
      ? [op, `${op}Gradient`]
      : [op]
  );
  assert.deepEqual(new Set([...measured, ...LEFT_OUT]), new Set(Object.keys(OPS)));
});

for (const one of kernelCases(SIZES)) {
  Deno.test(`${one.op}, ${one.called}, runs and leaves nothing behind`, async () => {
    const device = new ReferenceDevice();
    {
      using scope = new Scope(device);
      const { forward, backward } = await prepareCase(device, scope, one, "f32");
      const before = device.bytesInUse();
      await forward();
      await backward?.();
      assert.equal(backward === undefined, one.backward === undefined);
      assert.equal(device.bytesInUse(), before);
    }
    assert.equal(device.bytesInUse(), 0);
    await device.close();
  });
}
