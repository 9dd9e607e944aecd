/**
 * How fast a device is: at a matrix product, and at a stage's own shapes. It
 * compares nothing, and opens no device.
 */

import type { Clock } from "../actors/core/clock.ts";
import { type Device, GraphBuilder, type HostTensor, Scope } from "../kernels/mod.ts";
import { type Manifest, type Slice, sliceOf } from "../run/mod.ts";
import { CompiledStage } from "../stages/mod.ts";

/** Sides of the square matrices, tried in turn. Small ones say more of the way to a GPU than of the GPU. */
const SIDES = [256, 512, 1024, 2048, 4096];

/** Products that are asked for before one is waited for. */
const PRODUCTS_MAX = 256;

/** Layers of a stage that are measured: what is fast with these is fast with more of the same. */
const LAYERS_MAX = 2;

/** Names the micro-batch that is measured. */
const KEY = "measured";

/** Runs of products of one size; the fastest counts. */
const RUNS = 4;

/** Passes in a row: past it nothing becomes clearer. */
const RUNS_MAX = 50;

/**
 * Floating-point operations in a second of the best square matrix product.
 *
 * @param budgetMs for products of one size; one that would take more than twice as long is not tried.
 */
export async function measureProduct(device: Device, clock: Clock, budgetMs: number): Promise<number> {
  let best = 0;
  for (const side of SIDES) {
    using scope = new Scope(device);
    const builder = new GraphBuilder();
    const x = builder.input("x", "f32", [side, side]);
    const w = builder.input("w", "f32", [side, side]);
    builder.output("y", builder.op("linear", [x, w])[0]);
    const program = await device.compile(builder.build());
    const inputs = {
      x: scope.adopt(device.upload(ramp([side, side]))),
      w: scope.adopt(device.upload(ramp([side, side]))),
    };
    const row = scope.adopt(device.upload(ramp([1, side])));
    const rows = new GraphBuilder();
    rows.output(
      "y",
      rows.op("linear", [rows.input("x", "f32", [1, side]), rows.input("w", "f32", [side, side])])[0],
    );
    const rowProgram = await device.compile(rows.build());
    // A row only is read back: when it is here, all that was asked for before it is done.
    const run = async (products: number): Promise<void> => {
      using results = new Scope(device);
      for (let product = 0; product < products; product++) results.adoptAll(await program.run(inputs));
      await device.download(results.adoptAll(await rowProgram.run({ x: row, w: inputs.w })).y);
    };
    // The first one compiles what is compiled when it is used first.
    await run(1);
    const single = await least(clock, 0, () => run(1));
    const products = Math.min(PRODUCTS_MAX, Math.max(1, Math.ceil(budgetMs / 1000 / RUNS / single)));
    const seconds = await least(clock, clock.nowMs() + budgetMs, () => run(products), RUNS) / products;
    await program.dispose();
    await rowProgram.dispose();
    best = Math.max(best, 2 * side ** 3 / seconds);
    // A product of twice the side takes eight times as long, and it is run three times at least.
    if (8 * seconds * 1000 > 2 * budgetMs) break;
  }
  return best;
}

/**
 * Seconds that a device takes to bring a micro-batch forward and back through a
 * stage of these shapes, with fewer layers where the stage has many.
 *
 * @param budgetMs after it nothing new is begun; what was begun is waited for.
 */
export async function measureStage(
  device: Device,
  manifest: Manifest,
  index: number,
  clock: Clock,
  budgetMs: number,
): Promise<number> {
  const cut = withFewLayers(manifest, sliceOf(manifest, index));
  const stage = await CompiledStage.create({ device, ...cut });
  try {
    const { sequencesPerMicroBatch: B, sequenceLength: T, model: { width, vocabulary } } = manifest;
    const slice = sliceOf(cut.manifest, cut.index);
    const tokens: HostTensor = {
      dataType: "i32",
      shape: [B, T],
      data: Int32Array.from({ length: B * T }, (_, i) => i % vocabulary),
    };
    const input = slice.embedding ? tokens : ramp([B, T, width]);
    const gradient = slice.head ? undefined : ramp([B, T, width]);
    const forward = () => stage.forward(KEY, input, slice.head ? tokens : undefined, { keep: true });
    await forward();
    // Forward last: only it gives something back at every stage, and when that is here all before it is done.
    const pass = async (): Promise<void> => {
      await stage.backward(KEY, gradient, { accumulate: true });
      await forward();
    };
    // The first one compiles what is compiled when it is used first.
    await pass();
    return await least(clock, clock.nowMs() + budgetMs, pass);
  } finally {
    await stage.close();
  }
}

/** A run of the same shapes whose stage `index` has at most {@link LAYERS_MAX} layers. */
export function withFewLayers(
  manifest: Manifest,
  { embedding, head, firstLayer, endLayer }: Slice,
): { readonly manifest: Manifest; readonly index: number } {
  const layers = Math.min(LAYERS_MAX, endLayer - firstLayer);
  const before = embedding ? 0 : 1;
  const after = head ? 0 : 1;
  const stages = [...embedding ? [] : [before], ...head ? [] : [before + layers]];
  const model = { ...manifest.model, layers: before + layers + after };
  return { manifest: { ...manifest, model, stages: stages.length === 0 ? 1 : stages }, index: before };
}

/** Seconds of the fastest of several runs. */
async function least(
  clock: Clock,
  endMs: number,
  run: () => Promise<void>,
  runsMax = RUNS_MAX,
): Promise<number> {
  let leastMs = Infinity;
  for (let runs = 0; runs === 0 || (runs < runsMax && clock.nowMs() < endMs); runs++) {
    const begunMs = clock.nowMs();
    await run();
    // A clock may stand still for what takes no time.
    leastMs = Math.min(leastMs, Math.max(0.001, clock.nowMs() - begunMs));
  }
  return leastMs / 1000;
}

/** Numbers of ordinary size, no two neighbours alike. */
function ramp(shape: readonly number[]): HostTensor {
  const length = shape.reduce((product, size) => product * size, 1);
  return { dataType: "f32", shape, data: Float32Array.from({ length }, (_, i) => (i * 7 % 31 - 15) / 16) };
}
