import assert from "node:assert/strict";
import fc from "fast-check";
import { threadsOf } from "./rowwise.ts";
import { workgroupsOf } from "./workgroups.ts";
import type { WgslLimits } from "./writer.ts";

const LIMITS: WgslLimits = {
  f16: false,
  workgroupStorageBytes: 16_384,
  workgroupInvocations: 256,
  workgroupsPerDimension: 65_535,
  software: false,
};

Deno.test("there is a workgroup for each row, within the limits, and few are idle", () => {
  assert.deepEqual(workgroupsOf(LIMITS, 1), [1, 1, 1]);
  assert.deepEqual(workgroupsOf(LIMITS, 65_535), [65_535, 1, 1]);
  assert.deepEqual(workgroupsOf(LIMITS, 65_536), [32_768, 2, 1]);
  fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (count) => {
    const [x, y, z] = workgroupsOf(LIMITS, count);
    assert.ok(Math.max(x, y) <= LIMITS.workgroupsPerDimension);
    assert.ok(x * y >= count && x * y - count < y && z === 1);
  }));
});

Deno.test("short rows take few threads, and none takes more than a workgroup has", () => {
  assert.deepEqual([1, 128, 129, 512, 1024, 1_000_000].map(threadsOf), [32, 32, 64, 128, 256, 256]);
});
