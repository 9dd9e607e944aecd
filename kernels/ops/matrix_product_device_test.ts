/**
 * The kernels of matrix products, those for GPUs and those for processors, on
 * whatever adapter there is: sizes beyond those of the common suite, where a
 * product has many tiles and its sums are taken in parts.
 */

import assert from "node:assert/strict";
import { GraphBuilder } from "../graph.ts";
import { Scope } from "../scope.ts";
import { WGSL_DEVICES } from "../testing/devices.ts";
import { drawFrom } from "../testing/draw.ts";
import { OP_CASES } from "../testing/op_cases.ts";
import { assertClose, type Tensor64, toHost } from "../testing/tensor64.ts";

/** Compiling is slow where Dawn computes on a processor: there the first case has to do. */
const SLOW = "webgpu (dawn)";

type ProductOp = "linear" | "linearInputGradient" | "linearWeightGradient";

/** Shapes of the two inputs. */
const CASES: readonly (readonly [ProductOp, readonly number[], readonly number[]])[] = [
  // Summed in parts: what goes in fours, and what does not.
  ["linear", [1, 36, 1028], [20, 1028]],
  ["linearInputGradient", [1, 70, 533], [533, 67]],
  ["linearWeightGradient", [3, 523, 66], [3, 523, 130]],
  // A few rows, and more columns than one workgroup takes.
  ["linear", [1, 5, 258], [70, 258]],
  // Enough for large tiles.
  ["linear", [1, 16_270, 20], [100, 20]],
];

for (const { name, open } of WGSL_DEVICES) {
  for (const software of [true, false]) {
    const kind = software ? "processors" : "GPUs";
    Deno.test({
      name: `${name}: products of many tiles and parts, with the kernels for ${kind}`,
      ignore: open === undefined,
      async fn(t) {
        const device = await open!({ software });
        for (const [op, left, right] of name === SLOW ? CASES.slice(0, 1) : CASES) {
          await t.step(`${op} [${left}], [${right}]`, async () => {
            using scope = new Scope(device);
            const draw = drawFrom(left.length + right[0], 1);
            const inputs = [draw.floats(...left), draw.floats(...right)];
            const builder = new GraphBuilder();
            const values = inputs.map(({ shape }, index) => builder.input(`x${index}`, "f32", shape));
            builder.output("y", builder.op(op, values as never)[0]);
            const program = await device.compile(builder.build());
            const [x0, x1] = inputs.map((input) => scope.adopt(device.upload(toHost(input))));
            const { y } = scope.adoptAll(await program.run({ x0, x1 }));
            assertClose(await device.download(y), expectedOf(op, inputs), 2e-5, op, magnitudeOf(op, inputs));
          });
        }
        assert.equal(device.bytesInUse(), 0, "bytes are left over");
        await device.close();
      },
    });
  }
}

function magnitudeOf(op: ProductOp, inputs: readonly Tensor64[]): number {
  return OP_CASES[op].magnitudes!(inputs, {})[0];
}

function expectedOf(op: ProductOp, inputs: readonly Tensor64[]): Tensor64 {
  return OP_CASES[op].formula(inputs, {})[0];
}
