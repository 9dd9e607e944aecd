/**
 * The optimizer's step gives the same bits on every device, for numbers that a
 * training should never meet, too: replicas of one stage on different devices
 * hold one state, and anybody may send anything.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { adamwScalars } from "../adamw_scalars.ts";
import type { Device, HostTensor } from "../device.ts";
import { type Graph, GraphBuilder } from "../graph.ts";
import { ReferenceDevice } from "../reference/device.ts";
import { Scope } from "../scope.ts";
import { DEVICES } from "../testing/devices.ts";
import { randomFrom } from "../testing/random.ts";

const COUNT = 10_007;
const RUNS = 12;
const STATE = ["parameter", "m", "v"] as const;

const HYPER = [
  { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
  // Nothing keeps the quotient finite, and nothing decays.
  { beta1: 0.8, beta2: 0.999, epsilon: 0, weightDecay: 0 },
];

for (const { name, open } of DEVICES.filter(({ name }) => name !== "reference")) {
  Deno.test({
    name: `${name}: a step of AdamW has the reference's bits, denormal and huge numbers included`,
    ignore: open === undefined,
    async fn() {
      const device = await open!();
      const reference = new ReferenceDevice();
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...HYPER),
          fc.constantFrom(1, 7, 100_000),
          fc.constantFrom(2 ** -30, 1e-3, 1),
          fc.integer(),
          async (hyper, step, scale, seed) => {
            const random = randomFrom(seed);
            const given = {
              parameter: numbers(random),
              gradientSum: numbers(random),
              m: numbers(random),
              v: numbers(random).map(Math.abs),
            };
            const { beta1, beta2 } = hyper;
            const scalars = adamwScalars({ step, scale, learningRate: random() / 100, beta1, beta2 });
            const [expected, found] = [
              await stateAfter(reference, adamwGraph(hyper), given, scalars),
              await stateAfter(device, adamwGraph(hyper), given, scalars),
            ];
            for (const name of STATE) {
              const want = bitsOf(expected[name]);
              const different = bitsOf(found[name]).findIndex((bits, i) => bits !== want[i]);
              assert.equal(different, -1, `${name} ${different} is ${found[name][different]}`);
            }
          },
        ),
        { numRuns: RUNS },
      );
      await device.close();
    },
  });
}

/** Runs one step. */
async function stateAfter(
  device: Device,
  graph: Graph,
  given: Readonly<Record<string, Float32Array>>,
  scalars: Readonly<Record<string, HostTensor>>,
): Promise<Record<string, Float32Array>> {
  using scope = new Scope(device);
  const program = await device.compile(graph);
  const upload = (host: HostTensor) => scope.adopt(device.upload(host));
  const tensors = Object.fromEntries([
    ...Object.entries(given).map(([name, data]) =>
      [name, upload({ dataType: "f32", shape: [data.length], data })] as const
    ),
    ...Object.entries(scalars).map(([name, host]) => [name, upload(host)] as const),
  ]);
  assert.deepEqual(await program.run(tensors), {});
  const state: Record<string, Float32Array> = {};
  for (const name of STATE) state[name] = (await device.download(tensors[name])).data as Float32Array;
  await program.dispose();
  return state;
}

function adamwGraph(hyper: typeof HYPER[number]): Graph {
  const builder = new GraphBuilder();
  const big = ["parameter", "gradientSum", "m", "v"].map((name) => builder.input(name, "f32", ["N"]));
  const small = ["scale", "rate", "correction1", "correction2"].map((name) =>
    builder.input(name, "f32", [1])
  );
  const outputs = builder.append("adamw", [...big, ...small], hyper);
  STATE.forEach((name, i) => builder.update(name, outputs[i]));
  return builder.build();
}

/** Numbers as training meets them, among any that there are. */
function numbers(random: () => number): Float32Array<ArrayBuffer> {
  const data = new Float32Array(COUNT);
  const bits = new Uint32Array(data.buffer);
  const draw = (count: number) => Math.floor(random() * count);
  const kinds = [
    () => bits[draw(COUNT)], // as another one, or 0
    () => draw(2 ** 32), // any, infinities and NaN included
    () => draw(2) * 2 ** 31 + draw(2 ** 24), // denormal, or next to it
    () => draw(2) * 2 ** 31 + 0x3f000000 + draw(2 ** 24), // 0.5 to 2
    () => draw(2) * 2 ** 31 + 0x20000000 + draw(2 ** 28), // its square is small
    () => draw(2) * 2 ** 31 + 0x7e800000 + draw(2 ** 24), // greatest
    () => draw(2 ** 20) * 2 ** 12, // short, so that products tie
  ];
  for (let i = 0; i < COUNT; i++) bits[i] = kinds[draw(kinds.length)]();
  return data;
}

/** Bits, the same for every NaN. */
function bitsOf(data: Float32Array): Uint32Array {
  const copy = data.map((number) => Number.isNaN(number) ? NaN : number);
  return new Uint32Array(copy.buffer);
}
