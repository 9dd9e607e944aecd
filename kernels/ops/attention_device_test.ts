/**
 * Attention and its gradient beyond the sizes and numbers of the common suite,
 * on whatever devices there are: around the edges of tiles, with fewer queries
 * than keys, and with scores that only a running maximum survives. What is
 * expected comes from the rows' own loops in float64.
 */

import assert from "node:assert/strict";
import type { Device, HostTensor } from "../device.ts";
import { type Graph, GraphBuilder } from "../graph.ts";
import { Scope } from "../scope.ts";
import { DEVICES, WGSL_DEVICES } from "../testing/devices.ts";
import { drawFrom } from "../testing/draw.ts";
import { evaluate } from "../testing/evaluate.ts";
import { assertClose, greatestOf, type Tensor64, tensor64, toHost } from "../testing/tensor64.ts";
import type { AttentionAttributes } from "./attention.ts";

interface Sizes extends AttentionAttributes {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
}

/** Batch, T, S, key heads, query heads of each, width of a head. */
const SIZES = [
  [2, 1, 1, 1, 1, 1],
  [1, 1, 1100, 2, 3, 7],
  [1, 64, 64, 1, 1, 32],
  [1, 17, 90, 1, 4, 33],
  [2, 65, 97, 2, 1, 5],
  [1, 22, 31, 1, 3, 129],
  [1, 40, 40, 1, 1, 256],
  [2, 65, 97, 2, 2, 8],
] as const;

/** Of those, what processors read from images and GPUs four elements at once. */
const IN_FOURS = SIZES.filter(([, , , , , headWidth]) => headWidth % 4 === 0);

const NAMES = ["q", "k", "v", "y", "logSumExp", "dy"];

for (const { name, open } of DEVICES) {
  const test = (what: string, body: (device: Device, t: Deno.TestContext) => Promise<void>) =>
    Deno.test({
      name: `${name}: ${what}`,
      ignore: open === undefined,
      async fn(t) {
        const device = await open!();
        await body(device, t);
        assert.equal(device.bytesInUse(), 0, "bytes are left over");
        await device.close();
      },
    });

  test("attention around the edges of tiles", (device, t) => checkEach(device, SIZES, t));

  test("attention with scores of ten thousand, ties among them", async (device) => {
    // Whole numbers of which every sum is exact, so that a device can't round scores apart.
    const sizes = { batch: 1, queries: 40, keys: 70, heads: 2, keyValueHeads: 1, headWidth: 4 };
    const whole = (_b: number, t: number, c: number) => 70 - (t * 31 + c * 17) % 5;
    const signed = (b: number, t: number, c: number) => whole(b, t, c) * (t % 3 === 0 ? -1 : 1);
    const { forward } = graphsOf(sizes);
    const shapes = forward.inputs.map(({ shape }) => shape as readonly number[]);
    const draw = drawFrom(1, 1);
    const [q, k, v] = [tensor64(shapes[0], whole), tensor64(shapes[1], signed), draw.floats(...shapes[2])];
    assert.ok(greatestOf(evaluate(forward, { q, k, v }).logSumExp) > 9000);
    const given = [q, k, v, draw.floats(...shapes[0])];
    // Near 10,000 an f32 has steps of 1/1024: so far off may a probability be that is taken from one.
    await check(device, sizes, () => given.shift()!, 2e-3);
  });
}

for (const { name, open } of WGSL_DEVICES) {
  Deno.test({
    name: `${name}: attention with the kernels for GPUs`,
    ignore: open === undefined,
    async fn(t) {
      const device = await open!({ software: false });
      await checkEach(device, IN_FOURS, t);
      assert.equal(device.bytesInUse(), 0, "bytes are left over");
      await device.close();
    },
  });
}

async function checkEach(
  device: Device,
  each: readonly (typeof SIZES)[number][],
  t: Deno.TestContext,
): Promise<void> {
  for (const [batch, queries, keys, keyValueHeads, group, headWidth] of each) {
    const sizes = { batch, queries, keys, heads: keyValueHeads * group, keyValueHeads, headWidth };
    await t.step(`[${[batch, queries, keys, keyValueHeads, group, headWidth]}]`, async () => {
      const draw = drawFrom(queries + keys + headWidth, 1);
      await check(device, sizes, (...shape) => draw.floats(...shape), 1e-4);
    });
  }
}

/** Runs forward and backward on `q`, `k`, `v` and `dy`, drawn in this order, beside the same in float64. */
async function check(
  device: Device,
  sizes: Sizes,
  draw: (...shape: readonly number[]) => Tensor64,
  tolerance: number,
): Promise<void> {
  const { forward, backward } = graphsOf(sizes);
  const [q, k, v] = forward.inputs.map(({ shape }) => draw(...shape as readonly number[]));
  const dy = draw(...q.shape);
  const made = evaluate(forward, { q, k, v });
  const found = await run(device, forward, { q, k, v });
  assertClose(found.y, made.y, tolerance, "y", greatestOf(v));
  assertClose(found.logSumExp, made.logSumExp, 1e-6, "logSumExp", 10);

  const inputs = { q, k, v, y: rounded(made.y), logSumExp: rounded(made.logSumExp), dy };
  const expected = evaluate(backward, inputs);
  const gradients = await run(device, backward, inputs);
  const slope = greatestOf(dy) * greatestOf(v) * sizes.headWidth;
  const magnitudes = { dq: slope * greatestOf(k), dk: slope * greatestOf(q), dv: greatestOf(dy) };
  for (const [key, magnitude] of Object.entries(magnitudes)) {
    assertClose(gradients[key], expected[key], tolerance, key, magnitude);
  }
}

function graphsOf({ batch, queries, keys, ...attributes }: Sizes): {
  readonly forward: Graph;
  readonly backward: Graph;
} {
  const { heads, keyValueHeads, headWidth } = attributes;
  const perQuery = [batch, queries, heads * headWidth];
  const perKey = [batch, keys, keyValueHeads * headWidth];
  const shapes = [perQuery, perKey, perKey, perQuery, [batch, heads, queries], perQuery];
  const build = (op: string, count: number, outputs: readonly string[]) => {
    const builder = new GraphBuilder();
    const values = shapes.slice(0, count).map((shape, i) => builder.input(NAMES[i], "f32", shape));
    builder.append(op, values, attributes).forEach((value, i) => builder.output(outputs[i], value));
    return builder.build();
  };
  return {
    forward: build("attention", 3, ["y", "logSumExp"]),
    backward: build("attentionGradient", 6, ["dq", "dk", "dv"]),
  };
}

async function run(
  device: Device,
  graph: Graph,
  inputs: Readonly<Record<string, Tensor64>>,
): Promise<Record<string, HostTensor>> {
  using scope = new Scope(device);
  const program = await device.compile(graph);
  const given = Object.fromEntries(
    Object.entries(inputs).map(([key, tensor]) => [key, scope.adopt(device.upload(toHost(tensor)))]),
  );
  const results = scope.adoptAll(await program.run(given));
  const found: Record<string, HostTensor> = {};
  for (const [key, tensor] of Object.entries(results)) found[key] = await device.download(tensor);
  await program.dispose();
  return found;
}

function rounded({ shape, data }: Tensor64): Tensor64 {
  return { shape, data: data.map(Math.fround) };
}
