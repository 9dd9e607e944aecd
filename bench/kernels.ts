/**
 * How near a decoder block, forward and backward, comes to the bare matrix
 * product of the same runtime on the same threads.
 *
 * Counted are the operations of the mathematics: 6 per parameter and token, and
 * attention's products over all T × T pairs. What a kernel does on top of that
 * (masks, transposes, elementwise passes) only costs. Each round measures the
 * product and the block one after the other, since others may share the machine.
 */

import type { Clock } from "../actors/core/clock.ts";
import {
  type Device,
  type DeviceTensor,
  differentiate,
  elementCount,
  GraphBuilder,
  type Program,
  Scope,
} from "../kernels/mod.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { decoderBlock } from "../kernels/testing/decoder.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";

const BATCH = 8;
const LENGTH = 256;
const WIDTH = 512;
const HIDDEN = 1376;
const PRODUCT = 1024;
const ROUNDS = 9;
const RATIO_MIN = 0.70;
/** As many as take about as long as one block, so that both see the same neighbours. */
const PRODUCTS_PER_ROUND = 16;

/** Measures for about ten seconds per line. */
export async function* benchKernels(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  const threadCounts = [...new Set([1, Math.min(navigator.hardwareConcurrency, 4)])];
  for (const threads of threadCounts) {
    for (const heads of [8, 4]) yield await benchBlock(context, threads, heads);
  }
}

async function benchBlock(context: BenchContext, threads: number, heads: number): Promise<BenchRow> {
  const device = new OnnxDevice({ threads });
  try {
    const { speed, ratio } = await compare(context, device, heads);
    return {
      name: `kernels: block ${WIDTH} wide, ${heads} heads, T ${LENGTH}, ${
        BATCH * LENGTH
      } tokens, threads ${threads}`,
      value: speed,
      unit: "GFLOP/s",
      ratio,
      to: "a 1024³ product",
      target: { of: "ratio", atLeast: RATIO_MIN },
    };
  } finally {
    await device.close();
  }
}

/** Medians over all rounds but the first, which warms caches and memory plans. */
async function compare(
  { clock, quick, signal }: BenchContext,
  device: Device,
  heads: number,
): Promise<{ readonly speed: number; readonly ratio: number }> {
  using scope = new Scope(device);
  const product = await prepareProduct(device, scope);
  const block = await prepareBlock(device, scope, heads);
  const speeds: number[] = [];
  const ratios: number[] = [];
  for (let round = 0; round <= (quick ? 1 : ROUNDS); round++) {
    signal.throwIfAborted();
    const bare = await speedOf(clock, product, PRODUCTS_PER_ROUND);
    const speed = await speedOf(clock, block, 1);
    if (round === 0) continue;
    speeds.push(speed);
    ratios.push(speed / bare);
  }
  return { speed: median(speeds), ratio: median(ratios) };
}

/** Something to measure, and its operations in billions. */
interface Work {
  readonly billions: number;
  run(): Promise<void>;
}

async function prepareProduct(device: Device, scope: Scope): Promise<Work> {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["N", PRODUCT]);
  const w = builder.input("w", "f32", [PRODUCT, PRODUCT]);
  builder.output("y", builder.op("linear", [x, w])[0]);
  const program = await device.compile(builder.build());
  const inputs = { x: fill(device, scope, [PRODUCT, PRODUCT]), w: fill(device, scope, [PRODUCT, PRODUCT]) };
  return {
    billions: 2 * PRODUCT ** 3 / 1e9,
    run: async () => freeAll(device, await program.run(inputs)),
  };
}

async function prepareBlock(device: Device, scope: Scope, heads: number): Promise<Work> {
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["B", "T", WIDTH]);
  const positions = builder.input("positions", "i32", ["T"]);
  const sizes = {
    vocabulary: 1,
    width: WIDTH,
    heads,
    keyValueHeads: heads,
    headWidth: WIDTH / heads,
    hidden: HIDDEN,
    layers: 1,
  };
  builder.output("y", decoderBlock(builder, sizes, "block", x, positions));
  const graph = builder.build();
  const parameters = graph.inputs.filter(({ name }) => name.startsWith("block."));
  const { forward, backward } = differentiate(graph, {
    outputs: ["y"],
    withRespectTo: ["x"],
    accumulate: parameters.map(({ name }) => name),
  });
  const [forwardProgram, backwardProgram]: Program[] = [
    await device.compile(forward),
    await device.compile(backward),
  ];
  const inputs: Record<string, DeviceTensor> = {
    x: fill(device, scope, [BATCH, LENGTH, WIDTH]),
    "y.gradient": fill(device, scope, [BATCH, LENGTH, WIDTH]),
    positions: scope.adopt(device.upload({
      dataType: "i32",
      shape: [LENGTH],
      data: Int32Array.from({ length: LENGTH }, (_, i) => i),
    })),
  };
  let weights = 0;
  for (const { name, shape } of parameters) {
    const size = shape as readonly number[];
    inputs[name] = fill(device, scope, size);
    inputs[`${name}.gradientSum`] = fill(device, scope, size);
    if (size.length === 2) weights += elementCount(size);
  }
  const tokens = BATCH * LENGTH;
  return {
    billions: (6 * weights * tokens + 12 * tokens * LENGTH * WIDTH) / 1e9,
    async run() {
      const kept = await forwardProgram.run(inputs);
      freeAll(device, await backwardProgram.run({ ...inputs, ...kept }));
      freeAll(device, kept);
    },
  };
}

/** Billions of operations per second over some runs in a row. */
async function speedOf(clock: Clock, work: Work, runs: number): Promise<number> {
  const startMs = clock.nowMs();
  for (let run = 0; run < runs; run++) await work.run();
  return runs * work.billions / ((clock.nowMs() - startMs) / 1000);
}

/** Small numbers, all different, none special. */
function fill(device: Device, scope: Scope, shape: readonly number[]): DeviceTensor {
  const data = Float32Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i) / 16);
  return scope.adopt(device.upload({ dataType: "f32", shape, data }));
}

function freeAll(device: Device, tensors: Readonly<Record<string, DeviceTensor>>): void {
  for (const tensor of Object.values(tensors)) device.free(tensor);
}
