/**
 * What only sessions compute, in 16 bits, on every adapter of this machine: attention
 * to what is past, and rows that are taken. Devices without 16 bits keep 32, and have
 * to come as near.
 */

import assert from "node:assert/strict";
import type { DeviceTensor } from "../device.ts";
import { GraphBuilder } from "../graph.ts";
import { OPS } from "../ops.ts";
import { Scope } from "../scope.ts";
import { WGSL_DEVICES } from "../testing/devices.ts";
import { drawFrom } from "../testing/draw.ts";
import { LEAST_SIZES, OP_CASES } from "../testing/op_cases.ts";
import { assertClose, type Tensor64, toHost } from "../testing/tensor64.ts";
import type { WebGpuDevice } from "../webgpu/device.ts";

/** How an op is tried. */
interface Tried {
  readonly op: "cachedAttention" | "takeRows";
  /** Of its inputs, as sessions name their sizes. */
  readonly shapes: (sizes: readonly (readonly number[])[]) => readonly (readonly (number | string)[])[];
  /** Inputs that take 16 bits, each time others. */
  readonly halves: readonly (readonly number[])[];
  /** Share of the greatest number that may be missed. */
  readonly tolerance: number;
}

const TRIED: readonly Tried[] = [
  {
    op: "cachedAttention",
    shapes: ([q, k, v, keys, values]) => [
      [1, "N", q[2]],
      [1, "N", k[2]],
      [1, "N", v[2]],
      ["P", ...keys.slice(1)],
      ["P", ...values.slice(1)],
      ["B", "S"],
      ["B"],
    ],
    // In a session new keys and values leave the run, and the pool has come from outside.
    halves: [[0], [0, 1, 2, 3, 4]],
    tolerance: 2e-3,
  },
  { op: "takeRows", shapes: ([hidden]) => [[1, "N", hidden[2]], ["B"]], halves: [[0]], tolerance: 0 },
];

const half = (rounds: boolean, { shape, data }: Tensor64): Tensor64 => ({
  shape,
  data: rounds ? Array.from(new Float16Array(data)) : data,
});

const doubled = ({ shape, data }: Tensor64): Tensor64 => ({
  shape,
  data: data.map((element) => 2 * element),
});

type Made = ReturnType<(typeof OP_CASES)["takeRows"]["instance"]>;

/** Twice what the op makes of twice the inputs that are to be halves: what is between two nodes takes 16 bits. */
async function run(device: WebGpuDevice, { op, shapes }: Tried, halves: readonly number[], made: Made) {
  const builder = new GraphBuilder();
  using scope = new Scope(device);
  const given: Record<string, DeviceTensor> = {};
  const named = shapes(made.inputs.map(({ shape }) => shape));
  const inputs = made.inputs.map((tensor, index) => {
    const { name, dataType } = OPS[op].inputs[index];
    const input = builder.input(name, dataType, named[index]);
    given[name] = scope.adopt(device.upload(toHost(tensor, dataType)));
    return halves.includes(index) ? builder.op("add", [input, input])[0] : input;
  });
  const [y] = builder.append(op, inputs, made.attributes);
  builder.output("y", builder.op("add", [y, y])[0]);
  const program = await device.compile(builder.build(), { precision: "f16" });
  const results = scope.adoptAll(await program.run(given));
  const found = await device.download(results.y);
  await program.dispose();
  return found;
}

for (const { name, open } of WGSL_DEVICES) {
  for (const tried of TRIED) {
    Deno.test({
      name: `${name}: ${tried.op} in 16 bits comes near its formula`,
      ignore: open === undefined,
      async fn() {
        const device = await open!();
        const { instance, formula, magnitudes, edges = [] } = OP_CASES[tried.op];
        const cases = [{}, { length: 5, batch: 2, width: 8, past: 3 }, ...edges];
        for (const [seed, edge] of cases.entries()) {
          const made = instance({ ...LEAST_SIZES, ...edge }, drawFrom(seed, 1));
          for (const halves of tried.halves) {
            const read = made.inputs.map((tensor, index) =>
              halves.includes(index) ? half(device.halves, doubled(tensor)) : tensor
            );
            const attributes = made.attributes as Record<string, number>;
            const [y] = formula(read, attributes);
            const expected = doubled(tried.tolerance === 0 ? half(device.halves, y) : y);
            const found = await run(device, tried, halves, made);
            const [magnitude = 0] = magnitudes?.(read, attributes) ?? [];
            assertClose(found, expected, tried.tolerance, `case ${seed}, halves ${halves}`, 2 * magnitude);
          }
        }
        assert.equal(device.bytesInUse(), 0);
        await device.close();
      },
    });
  }
}
