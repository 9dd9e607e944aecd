import assert from "node:assert/strict";
import fc from "fast-check";
import type { Dispatch, WgslTensor, WgslWriter } from "../webgpu/writer.ts";
import { chooseProduct, matrixProduct, type ProductSizes } from "./matrix_product.ts";

const LIMITS = {
  f16: true,
  workgroupStorageBytes: 16_384,
  workgroupInvocations: 256,
  workgroupsPerDimension: 65_535,
  software: false,
};

Deno.test("a product of a few rows waits for its weights, whatever computes", () => {
  for (const software of [false, true]) {
    const choice = chooseProduct({ m: 8, n: 32_000, k: 4096 }, true, { software });
    assert.deepEqual(choice, { kernel: "few rows" });
  }
  assert.equal(chooseProduct({ m: 9, n: 64, k: 64 }, true, LIMITS).kernel, "tiled");
  assert.equal(chooseProduct({ m: 8, n: 64, k: 64 }, false, LIMITS).kernel, "tiled");
});

Deno.test("a large product takes large tiles, and a small one tiles for every processor", () => {
  const choose = (m: number, n: number, k: number) => chooseProduct({ m, n, k }, true, LIMITS);
  assert.deepEqual(choose(4096, 4096, 4096), { kernel: "tiled", tile: [128, 128], depth: 16, parts: 1 });
  assert.deepEqual(choose(1024, 1024, 256), { kernel: "tiled", tile: [64, 64], depth: 32, parts: 1 });
});

Deno.test("a weight gradient of many rows is summed in parts", () => {
  const choice = chooseProduct({ m: 512, n: 512, k: 8192 }, false, LIMITS);
  assert.deepEqual(choice, { kernel: "tiled", tile: [64, 64], depth: 32, parts: 4 });
});

Deno.test("a processor computes without workgroup memory", () => {
  const choose = (m: number, n: number) => chooseProduct({ m, n, k: 64 }, true, { software: true });
  assert.deepEqual(choose(512, 512), { kernel: "direct", tile: [16, 8], depth: 4, parts: 1 });
  assert.equal(choose(512, 8192 * 8192 / 17).kernel, "direct");
  assert.equal(choose(512, 8192 * 8192 / 16).kernel, "tiled", "no image holds the operand");
});

const sizes: fc.Arbitrary<ProductSizes> = fc.record({
  m: fc.integer({ min: 1, max: 70_000 }),
  n: fc.integer({ min: 1, max: 70_000 }),
  k: fc.integer({ min: 1, max: 70_000 }),
});

Deno.test("every tile and every k is computed once, within the limits", () => {
  fc.assert(fc.property(sizes, fc.boolean(), fc.boolean(), fc.boolean(), (sizes, left, right, software) => {
    const dispatches = planOf(sizes, left, right, software);
    const first = dispatches.findIndex(({ constants }) => constants?.COLUMNS !== undefined);
    const [dispatch, sum] = dispatches.slice(first);
    const direct = dispatch.images !== undefined;
    assert.equal(first, direct ? 2 : 0, "an operand is not packed");
    for (const { texels } of dispatch.images ?? []) assert.ok(texels <= 8192 ** 2);
    const [x, y, parts] = dispatch.workgroups;
    assert.ok([x, y, parts].every((count) => count >= 1 && count <= 65_535));
    const { PART_K, TILES, TILE_K = 4 } = { ...dispatch.sizes, ...dispatch.constants } as Record<
      string,
      number
    >;
    if (PART_K === undefined) {
      assert.ok(x * y * 4 >= sizes.n);
      assert.equal(sum, undefined);
      return;
    }
    assert.equal(PART_K % TILE_K, 0);
    assert.ok(PART_K * parts >= sizes.k, "some of k is left out");
    assert.ok(PART_K * (parts - 1) < sizes.k, "a part is empty");
    assert.ok(x * y * (direct ? 8 : 1) >= TILES);
    assert.equal(sum === undefined, parts === 1);
    assert.ok(parts === 1 || 4 * parts * sizes.m * sizes.n <= 64 * 2 ** 20, "parts take too much memory");
  }));
});

function planOf(
  { m, n, k }: ProductSizes,
  leftAlongK: boolean,
  rightAlongK: boolean,
  software: boolean,
): readonly Dispatch[] {
  const dispatches: Dispatch[] = [];
  const writer: WgslWriter = {
    limits: { ...LIMITS, software },
    dispatch: (dispatch) => void dispatches.push(dispatch),
    scratch: (storage, shape) => ({ storage, shape }),
    image: (texels) => ({ texels }),
  };
  const tensor = (...shape: number[]): WgslTensor => ({ storage: "f32", shape });
  matrixProduct(
    writer,
    { m, n, k },
    { tensor: leftAlongK ? tensor(m, k) : tensor(k, m), alongK: leftAlongK },
    { tensor: rightAlongK ? tensor(n, k) : tensor(k, n), alongK: rightAlongK },
    tensor(m, n),
  );
  return dispatches;
}
