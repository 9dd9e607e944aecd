/**
 * How near our WGSL kernels come to what the adapter can do: each op over the
 * best matrix product that the same adapter reached, or, where an op only moves
 * memory, over the fastest plain addition of two tensors. Then a whole step of a
 * stage beside the same step on ONNX Runtime's CPU provider.
 *
 * Kernels are timed by the GPU's own clock, if it is a GPU and has one, else by the host's.
 * It measures whatever adapters are present, and names those that are not.
 * Sizes follow from the adapter's speed: a product takes some 30 ms at most.
 */

import type { Clock } from "../actors/core/clock.ts";
import type { Precision } from "../kernels/device.ts";
import { type Device, type DeviceTensor, Scope } from "../kernels/mod.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { WebGpuDevice } from "../kernels/webgpu/device.ts";
import { gpuOf, type WebGpuSource } from "../kernels/webgpu/open.ts";
import { type KernelCase, kernelCases, prepareCase, sizesFor } from "./gpu_kernels.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";
import { openStage, stageManifest } from "./stage_step.ts";

const SOURCES: readonly WebGpuSource[] = ["navigator", "dawn"];

/** Edges of the products that are tried, smallest first. */
const EDGES = [256, 512, 1024, 2048, 4096];

/** The largest edge is taken whose product is over after so long. */
const PRODUCT_MS_MAX = 30;

/** Runs in a row are as many as last so long: a read-back may take 11 ms to be answered. */
const ROUND_MS = 300;
const ROUNDS = 5;
const RUNS_MAX = 256;

/** The same, of a benchmark that only shows that everything works. */
const QUICK_ROUND_MS = 20;

/** The products of a step: forward, and the gradients by the input and the weight. */
const PRODUCTS = ["linear", "linearInputGradient", "linearWeightGradient"] as const;

/** Measures a few seconds a row, and every adapter for some minutes. */
export async function* benchWebGpu(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  for (const source of SOURCES) yield* benchSource(context, source);
}

async function* benchSource(
  context: BenchContext,
  source: WebGpuSource,
): AsyncGenerator<BenchRow, void, void> {
  let adapter: GPUAdapter | null = null;
  let why = "no adapter";
  try {
    adapter = await (await gpuOf(source)).requestAdapter({ powerPreference: "high-performance" });
  } catch (error) {
    why = error instanceof Error ? error.message : `${error}`;
  }
  if (!adapter) return context.note(`webgpu: ${source} is absent: ${why}`);
  const { vendor, architecture, device: model, description, isFallbackAdapter } = adapter.info;
  const named = [vendor, architecture, description || model].filter((word) => word !== "").join(" ");
  context.note(
    `webgpu: ${source} is ${named}${isFallbackAdapter ? ", which computes on the processor" : ""}`,
  );
  const f16 = adapter.features.has("shader-f16");
  if (!f16) context.note(`webgpu: ${source} has no shader-f16: f32 alone is measured`);
  const precisions: readonly Precision[] = f16 ? ["f32", "f16"] : ["f32"];

  const device = await WebGpuDevice.open({
    gpu: await gpuOf(source),
    name: `webgpu ${source}`,
    // Where the processor plays the GPU a pass may say that it is over before it is: llvmpipe's do.
    timed: !isFallbackAdapter,
  });
  const clock = await device.computedSeconds() === undefined ? "host" : "GPU";
  context.note(`webgpu: ${source}'s kernels are timed by the clock of the ${clock}`);
  try {
    const meter = new Meter(context, device);
    const edge = await edgeFor(meter);
    for (const precision of precisions) yield* benchKernels(meter, source, edge, precision);
    for (const precision of precisions) yield* benchStage(context, device, edge, precision);
  } finally {
    await device.close();
  }
}

/** Products first, since they are what the others are compared with. */
async function* benchKernels(
  meter: Meter,
  source: string,
  edge: number,
  precision: Precision,
): AsyncGenerator<BenchRow, void, void> {
  const head = `webgpu ${source} ${precision}:`;
  const speeds = new Map<string, number>();
  for (const op of PRODUCTS) speeds.set(op, await productSpeed(meter, op, edge, precision));
  const peak = Math.max(...speeds.values());
  for (const [op, speed] of speeds) {
    yield {
      name: `${head} ${op} ${edge}³`,
      value: speed,
      unit: "GFLOP/s",
      ratio: speed / peak,
      to: "the best product",
      subject: { kind: "product", source, precision, op, edge },
    };
  }

  // Adding comes first: it is what others that move memory are compared with.
  let moved = NaN;
  for (const one of kernelCases(sizesFor(edge))) {
    if (one.op === "adamw" && precision === "f16") continue; // the optimizer's state is f32
    using scope = new Scope(meter.device);
    const prepared = await prepareCase(meter.device, scope, one, precision);
    const ways = [["", one.forward, prepared.forward], [
      " backward",
      one.backward,
      prepared.backward,
    ]] as const;
    for (const [way, need, run] of ways) {
      if (!need || !run) continue;
      const seconds = await meter.secondsOf(run);
      const name = `${head} ${one.op}${way}, ${one.called}`;
      if (one.computes) {
        const value = need.operations / seconds / 1e9;
        yield { name, value, unit: "GFLOP/s", ratio: value / peak, to: "the best product" };
      } else {
        const value = bytesOf(precision) * need.elements / seconds / 1e9;
        if (one.op === "add") moved = value;
        yield { name, value, unit: "GB/s", ratio: value / moved, to: "adding two tensors" };
      }
    }
  }
}

async function* benchStage(
  context: BenchContext,
  device: Device,
  edge: number,
  precision: Precision,
): AsyncGenerator<BenchRow, void, void> {
  const manifest = stageManifest(edge, precision);
  const { width, layers, heads, hidden, vocabulary } = manifest.model;
  const { sequenceLength, sequencesPerMicroBatch, microBatchesPerStep } = manifest;
  const ours = await stepSeconds(context, device, edge, precision);
  const threads = navigator.hardwareConcurrency;
  const onnx = new OnnxDevice({ threads });
  try {
    const theirs = await stepSeconds(context, onnx, edge, "f32");
    yield {
      name:
        `${device.name} ${precision}: a stage's step, ${layers} layers ${width} wide, T ${sequenceLength}`,
      value: ours.tokens / ours.seconds,
      unit: "tokens/s",
      ratio: theirs.seconds / ours.seconds,
      to: `onnx, f32, threads ${threads}`,
      subject: {
        kind: "step",
        source: device.name,
        precision,
        width,
        layers,
        heads,
        hidden,
        vocabulary,
        length: sequenceLength,
        sequences: sequencesPerMicroBatch,
        microBatches: microBatchesPerStep,
      },
    };
  } finally {
    await onnx.close();
  }
}

async function stepSeconds(
  { clock, quick, signal }: BenchContext,
  device: Device,
  edge: number,
  precision: Precision,
) {
  await using stage = await openStage(device, stageManifest(edge, precision));
  const seconds: number[] = [];
  for (let round = 0; round <= (quick ? 1 : ROUNDS); round++) {
    signal.throwIfAborted();
    const startMs = clock.nowMs();
    await stage.step();
    if (round > 0) seconds.push((clock.nowMs() - startMs) / 1000);
  }
  return { seconds: median(seconds), tokens: stage.tokens };
}

/** Measures what is submitted to one device. */
class Meter {
  readonly #mark: DeviceTensor;

  constructor(readonly context: BenchContext, readonly device: WebGpuDevice) {
    this.#mark = device.upload({ dataType: "f32", shape: [1], data: Float32Array.of(0) });
  }

  /** Median over some rounds; each is of as many runs as make waiting for them cost little. */
  async secondsOf(run: () => Promise<void>): Promise<number> {
    const { quick, signal } = this.context;
    const roundMs = quick ? QUICK_ROUND_MS : ROUND_MS;
    // The first run compiles, and finds memory.
    await this.#msOf(run, 1);
    let runs = 1;
    let ms = await this.#msOf(run, runs);
    while (ms < roundMs && runs < RUNS_MAX) {
      runs = Math.min(RUNS_MAX, Math.ceil(runs * Math.min(8, 1.2 * roundMs / Math.max(1, ms))));
      ms = await this.#msOf(run, runs);
    }
    const rounds = [ms / runs];
    while (rounds.length < (quick ? 1 : ROUNDS)) {
      signal.throwIfAborted();
      rounds.push(await this.#msOf(run, runs) / runs);
    }
    return median(rounds) / 1000;
  }

  /** What the GPU says it took; else, a tensor that is copied back after the runs is here when they are over. */
  async #msOf(run: () => Promise<void>, runs: number): Promise<number> {
    const { clock }: { readonly clock: Clock } = this.context;
    await this.device.download(this.#mark);
    await this.device.computedSeconds();
    const startMs = clock.nowMs();
    for (let i = 0; i < runs; i++) await run();
    await this.device.download(this.#mark);
    const hostMs = clock.nowMs() - startMs;
    const seconds = await this.device.computedSeconds();
    return seconds === undefined ? hostMs : 1000 * seconds;
  }
}

/** The largest edge whose product does not take long. */
async function edgeFor(meter: Meter): Promise<number> {
  let edge = EDGES[0];
  for (const next of EDGES.slice(1)) {
    const gigaflops = await productSpeed(meter, "linear", edge, "f32");
    if (2 * next ** 3 / gigaflops / 1e6 > PRODUCT_MS_MAX) break;
    edge = next;
  }
  return edge;
}

/** Of a cube, in GFLOP/s. */
async function productSpeed(
  meter: Meter,
  op: typeof PRODUCTS[number],
  edge: number,
  precision: Precision,
): Promise<number> {
  using scope = new Scope(meter.device);
  const square = { dataType: "f32", shape: [edge, edge] } as const;
  const operands = [square, { ...square, lasting: op !== "linearWeightGradient" }];
  const need = { operations: 2 * edge ** 3, elements: 3 * edge ** 2 };
  const product: KernelCase = {
    op,
    called: `${edge}³`,
    computes: true,
    inputs: operands,
    forward: need,
  };
  const { forward } = await prepareCase(meter.device, scope, product, precision);
  return need.operations / await meter.secondsOf(forward) / 1e9;
}

function bytesOf(precision: Precision): number {
  return precision === "f16" ? 2 : 4;
}
