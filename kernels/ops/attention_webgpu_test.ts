import assert from "node:assert/strict";
import { elementCount } from "../shapes.ts";
import type { Dispatch, WgslTensor } from "../webgpu/writer.ts";
import type { AttentionAttributes } from "./attention.ts";
import { attend, attendBackwards } from "./attention_webgpu.ts";

const WORKGROUPS_MAX = 65_535;

/** What forward and backward plan for sequences of this length, and the elements that they make room for. */
function planOf(
  batch: number,
  length: number,
  attributes: AttentionAttributes,
): { readonly dispatches: readonly Dispatch[]; readonly elements: number } {
  const dispatches: Dispatch[] = [];
  let elements = 0;
  const make = (...shape: number[]): WgslTensor => {
    elements += elementCount(shape);
    return { storage: "f32", shape };
  };
  const writer = {
    limits: {
      f16: false,
      workgroupStorageBytes: 16_384,
      workgroupInvocations: 256,
      workgroupsPerDimension: WORKGROUPS_MAX,
      software: false,
    },
    dispatch: (dispatch: Dispatch) => void dispatches.push(dispatch),
    scratch: (_storage: unknown, shape: readonly number[]) => make(...shape),
    image: (texels: number) => ({ texels }),
  };
  const { heads, keyValueHeads, headWidth } = attributes;
  const perQuery = () => make(batch, length, heads * headWidth);
  const perKey = () => make(batch, length, keyValueHeads * headWidth);
  const given = [perQuery(), perKey(), perKey()];
  const made = [perQuery(), make(batch, heads, length)];
  attend(writer, given, made, attributes);
  attendBackwards(writer, [...given, ...made, perQuery()], [perQuery(), perKey(), perKey()], attributes);
  return { dispatches, elements };
}

Deno.test("memory grows as the sequence does, not as its square", () => {
  const sizes = { heads: 8, keyValueHeads: 2, headWidth: 64 };
  const [short, long] = [planOf(1, 1024, sizes), planOf(1, 2048, sizes)];
  assert.equal(long.elements, 2 * short.elements);
  for (const { bindings } of long.dispatches) {
    for (const { shape } of bindings) assert.ok(elementCount(shape) < 2048 * 2048, `[${shape}]`);
  }
});

Deno.test("more workgroups than one dimension holds go on in the second", () => {
  const { dispatches } = planOf(20_000, 130, { heads: 4, keyValueHeads: 4, headWidth: 8 });
  for (const { workgroups } of dispatches) {
    for (const count of workgroups) assert.ok(count >= 1 && count <= WORKGROUPS_MAX, `[${workgroups}]`);
  }
  const tiles = 20_000 * 4 * Math.ceil(130 / 64);
  const [x, y] = dispatches[0].workgroups;
  assert.ok(x * y >= tiles && x * (y - 1) < tiles, `${x} × ${y} for ${tiles}`);
});

Deno.test("a head that is too wide is refused", () => {
  assert.throws(
    () => planOf(1, 20, { heads: 1, keyValueHeads: 1, headWidth: 257 }),
    new TypeError("Cannot plan attention: a head is 257 wide, and its kernels take up to 256"),
  );
});
