import assert from "node:assert/strict";
import { ReferenceDevice, Scope } from "../kernels/mod.ts";
import { decoder } from "../kernels/testing/decoder.ts";
import { kernelCases, prepareCase, sizesFor } from "./gpu_kernels.ts";

const SIZES = sizesFor(16);

Deno.test("every op of a decoder is measured", () => {
  const measured = new Set<string>(kernelCases(SIZES).map(({ op }) => op));
  const sizes = { ...SIZES, keyValueHeads: SIZES.heads, headWidth: SIZES.width / SIZES.heads, layers: 1 };
  for (const { op } of decoder(sizes).nodes) assert.ok(measured.has(op), op);
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
