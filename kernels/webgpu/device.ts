/**
 * Runs graphs with our own WGSL kernels, on whatever GPU WebGPU finds. Tensors
 * stay in the GPU's memory; a run is one command buffer, and nothing waits for
 * the GPU but a download, which holds up no later run.
 *
 * It opens no adapter of its own accord, and needs nothing that a browser lacks.
 */

import { bind, type Bindable, checkRange, checkTensor, type IntegerRange, integerRanges } from "../bind.ts";
import {
  type CompileOptions,
  type DataType,
  type Device,
  DeviceLost,
  type DeviceTensor,
  type HostTensor,
  type Program,
} from "../device.ts";
import type { Graph, Value } from "../graph.ts";
import { type OpName, OPS } from "../ops.ts";
import type { OpRow } from "../op.ts";
import { formatShape } from "../shapes.ts";
import { gatherInputs } from "../tensor_store.ts";
import { Arena } from "./arena.ts";
import { BufferPool, type PooledBuffer } from "./buffers.ts";
import { narrowValues, shadowedInputs } from "./narrow.ts";
import { Pipelines } from "./pipelines.ts";
import { bytesOf, type Place, type Plan, planGraph } from "./plan.ts";
import { ReadyPlan } from "./ready_plan.ts";
import { Recent } from "./recent.ts";
import { ShaderFiles } from "./shader.ts";
import { Turns } from "./turns.ts";
import type { Storage, WgslLimits } from "./writer.ts";

/** Kernels kept compiled, for all sizes together. */
const PIPELINES_MAX = 1024;

/** Sets of sizes of one program whose plan is kept. */
const PLANS_MAX = 32;

/** Bytes written to the GPU before they are handed to it; WebGPU holds a copy of them until then. */
const WRITTEN_BYTES_MAX = 64 * 2 ** 20;

/** How a WebGPU device is to be. */
export interface WebGpuDeviceOptions {
  /** Where adapters are found: `navigator.gpu`, or Dawn's. */
  readonly gpu: GPU;
  /** What the device is called in messages. Default `webgpu`. */
  readonly name?: string;
  /** Bytes of GPU memory that it may take in all. Default: as much as there is. */
  readonly memoryMax?: number;
  /** Bytes of unused buffers that are kept for the next. Default 1 GiB. */
  readonly spareBytesMax?: number;
}

/** Where the GPU's memory is, in bytes. */
export interface MemoryUse {
  /** Everything that the device holds. */
  readonly held: number;
  /** Of that: live tensors. */
  readonly tensors: number;
  /** Space that runs work in. */
  readonly arena: number;
  /** Not in use. */
  readonly spare: number;
}

/** What a tensor holds. */
interface Contents {
  buffer: PooledBuffer;
  storage: Storage;
  /** The same integers in the host's memory, where ranges are checked. */
  integers: Int32Array | undefined;
}

/** A tensor as its device knows it. */
interface Held extends DeviceTensor, Contents {
  /** A copy in 16 bits, where programs read one. */
  shadow: { readonly buffer: PooledBuffer; stale: boolean } | undefined;
  live: boolean;
}

/** A graph that was compiled. */
interface Compiled {
  readonly graph: Graph;
  readonly narrow: ReadonlySet<Value>;
  readonly shadowed: ReadonlySet<Value>;
  /** By what distinguishes them: the sizes and storages of their inputs. */
  readonly plans: Recent<BoundPlan>;
  live: boolean;
}

/** A plan, and what its integers must be. */
interface BoundPlan {
  readonly ready: ReadyPlan;
  readonly ranges: readonly IntegerRange[];
}

/** A GPU. */
export class WebGpuDevice implements Device {
  readonly name: string;
  /** One that is written, one that is computed, one that is read back. */
  readonly inFlightMax = 3;
  /** Says why, when the GPU is gone: it was unplugged, its driver failed, or the device was closed. */
  readonly lost: Promise<string>;
  readonly #gpu: GPUDevice;
  readonly #limits: WgslLimits;
  readonly #pool: BufferPool;
  readonly #arena: Arena;
  readonly #pipelines: Pipelines;
  readonly #files = new ShaderFiles();
  readonly #turns = new Turns();
  readonly #live = new Map<DeviceTensor, Held>();
  #bytesInUse = 0;
  #writtenBytes = 0;
  /** Why nothing can be computed any more. */
  #gone: string | undefined;

  /**
   * Opens the adapter that the machine prefers.
   *
   * @throws {Error} if there is none, or it gives no device.
   */
  static async open(options: WebGpuDeviceOptions): Promise<WebGpuDevice> {
    const name = options.name ?? "webgpu";
    const adapter = await options.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error(`Cannot open ${name}: no adapter is found`);
    const device = await adapter.requestDevice({
      requiredFeatures: FEATURES.filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]])),
    });
    return new WebGpuDevice(device, { ...options, name });
  }

  private constructor(device: GPUDevice, options: WebGpuDeviceOptions & { readonly name: string }) {
    this.name = options.name;
    this.#gpu = device;
    const { limits } = device;
    this.#limits = {
      f16: device.features.has("shader-f16"),
      workgroupStorageBytes: limits.maxComputeWorkgroupStorageSize,
      workgroupInvocations: limits.maxComputeInvocationsPerWorkgroup,
      workgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
      software: device.adapterInfo.isFallbackAdapter,
    };
    this.#pool = new BufferPool(device, {
      device: this.name,
      memoryMax: options.memoryMax ?? Infinity,
      spareBytesMax: options.spareBytesMax ?? 2 ** 30,
      bufferBytesMax: Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize),
    });
    this.#arena = new Arena(this.#pool);
    this.#pipelines = new Pipelines(device, PIPELINES_MAX);
    this.lost = device.lost.then(({ message, reason }) => this.#end(message || reason || "no reason given"));
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      this.#end(`it reported an error: ${error.message}`);
    });
  }

  upload(tensor: HostTensor): DeviceTensor {
    checkTensor("Cannot upload tensor", tensor);
    this.#mustBeThere("Cannot upload tensor");
    const { dataType, shape, data } = tensor;
    const storage = dataType === "i32" ? "i32" : "f32";
    const buffer = this.#pool.take(data.byteLength, "storage");
    this.#writeBuffer({ buffer, storage }, data);
    const integers = data instanceof Int32Array ? data.slice() : undefined;
    return this.#adopt(dataType, shape, { buffer, storage, integers });
  }

  write(tensor: DeviceTensor, data: Float32Array | Int32Array): void {
    const held = this.#find("Cannot write tensor", tensor);
    checkTensor("Cannot write tensor", { ...held, data });
    this.#mustBeThere("Cannot write tensor");
    const copy = this.#turns.idle ? data : data.slice();
    void this.#turns.take(() => this.#write(held, copy));
  }

  async download(tensor: DeviceTensor): Promise<HostTensor> {
    const held = this.#find("Cannot download tensor", tensor);
    const { dataType, shape } = held;
    // The turn ends when the copy is on its way; waiting for it holds nobody up.
    const { integers, staging, storage } = await this.#turns.take(() => this.#copyOut(held));
    if (!staging) return { dataType, shape, data: integers! };
    try {
      await staging.gpu.mapAsync(MAP_READ);
    } catch (error) {
      // Nothing else keeps a buffer that is there from being mapped; the word of it may come later.
      this.#pool.destroy(staging);
      this.#end(error instanceof Error ? error.message : String(error));
    }
    this.#mustBeThere("Cannot download tensor");
    const bytes = staging.gpu.getMappedRange().slice(0, bytesOf(storage, shape));
    staging.gpu.unmap();
    this.#pool.give(staging);
    const data = storage === "f16" ? Float32Array.from(new Float16Array(bytes)) : new Float32Array(bytes);
    return { dataType, shape, data };
  }

  free(tensor: DeviceTensor): void {
    const held = this.#find("Cannot free tensor", tensor);
    this.#live.delete(tensor);
    held.live = false;
    this.#bytesInUse -= bytesOf(held.storage, held.shape);
    void this.#turns.take(() => {
      this.#pool.give(held.buffer);
      this.#dropShadow(held);
    });
  }

  compile(graph: Graph, { precision = "f32" }: CompileOptions = {}): Promise<Program> {
    return promise(() => {
      this.#mustBeThere("Cannot compile graph");
      const missing = opsWithoutKernel(graph);
      if (missing.length > 0) {
        throw new TypeError(`Cannot compile graph: ${missing.join(", ")} have no kernel for WebGPU`);
      }
      const halves = precision === "f16" && this.#limits.f16;
      const compiled: Compiled = {
        graph,
        narrow: halves ? narrowValues(graph) : new Set(),
        shadowed: halves ? shadowedInputs(graph) : new Set(),
        plans: new Recent(PLANS_MAX),
        live: true,
      };
      return {
        run: (inputs) =>
          promise(() => {
            if (!compiled.live) throw new TypeError("Cannot run graph: its program was disposed");
            const given = [
              ...gatherInputs(graph, inputs, (action, tensor) => this.#find(action, tensor)).values(),
            ];
            return this.#turns.take(() => this.#run(compiled, given));
          }),
        dispose() {
          compiled.live = false;
          return Promise.resolve();
        },
      };
    });
  }

  bytesInUse(): number {
    return this.#bytesInUse;
  }

  /** Whether programs that ask for 16 bits get them. */
  get halves(): boolean {
    return this.#limits.f16;
  }

  /** Where the GPU's memory is now. */
  memory(): MemoryUse {
    return {
      held: this.#pool.bytes,
      tensors: this.#bytesInUse,
      arena: this.#arena.bytes,
      spare: this.#pool.spareBytes,
    };
  }

  async close(): Promise<void> {
    await this.#turns.take(() => {
      this.#live.clear();
      this.#bytesInUse = 0;
      this.#pool.clear();
      this.#gone ??= "it was closed";
      this.#gpu.destroy();
    });
  }

  /** One run. It waits for nothing once its sizes are known and its memory is there. */
  #run(compiled: Compiled, given: readonly Held[]): MaybePromise<Record<string, DeviceTensor>> {
    this.#mustBeThere("Cannot run graph");
    const key = given.map(({ dataType, storage, shape }) => `${dataType} ${storage} ${shape}`).join(";");
    const bound = compiled.plans.get(key);
    if (!bound) return this.#plan(compiled, given, key).then((bound) => this.#submit(compiled, bound, given));
    checkIntegers(compiled.graph, bound.ranges, given);
    return this.#submit(compiled, bound, given);
  }

  async #plan(compiled: Compiled, given: readonly Held[], key: string): Promise<BoundPlan> {
    const { graph, narrow, shadowed, plans } = compiled;
    const shapes = bind(graph, new Map(graph.inputs.map((value, index) => [value, bindable(given[index])])));
    const plan = planGraph(graph, {
      shapes,
      inputs: given.map(({ storage }) => storage),
      narrow,
      shadowed,
      limits: this.#limits,
    });
    const steps = [...plan.casts.values(), ...plan.steps];
    await this.#files.load(new Set(steps.flatMap(({ dispatch }) => dispatch.source)));
    const pipelines = new Map(
      await Promise.all(steps.map(async (step) => {
        const text = this.#files.textOf(step.dispatch);
        return [step, await this.#pipelines.compile(`Cannot compile ${step.op}`, text)] as const;
      })),
    );
    const bound: BoundPlan = {
      ready: new ReadyPlan(this.#gpu, plan, (step) => pipelines.get(step)!),
      ranges: integerRanges(graph, shapes),
    };
    plans.set(key, bound);
    return bound;
  }

  /** Puts a plan on buffers and hands it to the GPU. */
  #submit(
    { graph }: Compiled,
    { ready }: BoundPlan,
    given: readonly Held[],
  ): MaybePromise<Record<string, DeviceTensor>> {
    const { plan } = ready;
    const shadowed = [...plan.casts.keys()];
    const taken: PooledBuffer[] = [];
    const newShadows = new Set<Held>();
    const giveBack = (error: unknown): never => {
      for (const buffer of taken) this.#pool.give(buffer);
      for (const held of newShadows) this.#dropShadow(held);
      this.#arena.rest();
      throw error;
    };
    let fresh: readonly PooledBuffer[];
    try {
      this.#arena.grow(plan.slots);
      fresh = plan.fresh.map(({ storage, shape, takesOver }) => {
        if (takesOver !== undefined) return given[takesOver].buffer;
        const buffer = this.#pool.take(bytesOf(storage, shape), "storage");
        taken.push(buffer);
        return buffer;
      });
      for (const held of shadowed.map((input) => given[input])) {
        if (held.shadow) continue;
        held.shadow = { buffer: this.#pool.take(bytesOf("f16", held.shape), "storage"), stale: true };
        newShadows.add(held);
      }
    } catch (error) {
      return giveBack(error);
    }

    const submit = (): Record<string, DeviceTensor> => {
      this.#mustBeThere("Cannot run graph");
      this.#pool.mustExist([
        ...this.#arena.buffers,
        ...fresh,
        ...given.map(({ buffer }) => buffer),
        ...shadowed.map((input) => given[input].shadow!.buffer),
      ]);
      const at = ({ kind, index }: Place): PooledBuffer => {
        switch (kind) {
          case "input":
            return given[index].buffer;
          case "shadow":
            return given[index].shadow!.buffer;
          case "slot":
            return this.#arena.buffers[index];
          case "fresh":
            return fresh[index];
        }
      };
      const encoder = this.#gpu.createCommandEncoder();
      if (plan.steps.length > 0) {
        const pass = encoder.beginComputePass();
        for (const input of shadowed) {
          if (given[input].shadow!.stale) ready.encodeCast(pass, input, at);
          given[input].shadow!.stale = false;
        }
        ready.encode(pass, at);
        pass.end();
      }
      for (const { from, to, bytes } of plan.copies) {
        encoder.copyBufferToBuffer(at(from).gpu, 0, fresh[to].gpu, 0, wholeWords(bytes));
      }
      this.#gpu.queue.submit([encoder.finish()]);
      this.#writtenBytes = 0;
      this.#arena.rest();
      return this.#yield(graph, plan, given, fresh);
    };
    const settled = this.#pool.settled();
    try {
      return settled ? settled.then(submit).catch(giveBack) : submit();
    } catch (error) {
      return giveBack(error);
    }
  }

  /** Hands out what a run has made: updated tensors get its buffers, and all else is a tensor of its own. */
  #yield(
    graph: Graph,
    plan: Plan,
    given: readonly Held[],
    fresh: readonly PooledBuffer[],
  ): Record<string, DeviceTensor> {
    const results: Record<string, DeviceTensor> = {};
    const indexOf = new Map(graph.inputs.map((value, index) => [value.name, index]));
    const before = given.map(({ integers }) => integers);
    const takenOver = new Set(plan.fresh.map(({ takesOver }) => takesOver));
    graph.outputs.forEach(({ name, value, updates }, output) => {
      const index = plan.outputs[output];
      const { storage, shape } = plan.fresh[index];
      const source = graph.inputs.indexOf(value);
      const made = { buffer: fresh[index], storage, integers: before[source]?.slice() };
      if (updates === undefined) {
        results[name] = this.#adopt(value.dataType, shape, made);
        return;
      }
      const target = indexOf.get(updates)!;
      if (!takenOver.has(target)) this.#pool.give(given[target].buffer);
      this.#place(given[target], made);
    });
    return results;
  }

  /** Gives a tensor other contents. */
  #place(held: Held, contents: Contents): void {
    if (held.live) {
      this.#bytesInUse += bytesOf(contents.storage, held.shape) - bytesOf(held.storage, held.shape);
    }
    Object.assign(held, contents);
    if (held.shadow) held.shadow.stale = true;
  }

  /** Starts to copy a tensor's contents into memory that the host can read. */
  #copyOut(
    held: Held,
  ): MaybePromise<
    { readonly integers?: Int32Array; readonly staging?: PooledBuffer; readonly storage: Storage }
  > {
    this.#mustBeThere("Cannot download tensor");
    const { storage, shape, buffer, integers } = held;
    if (integers) return { integers: integers.slice(), storage };
    const bytes = bytesOf(storage, shape);
    const staging = this.#pool.take(bytes, "readback");
    const copy = () => {
      try {
        this.#mustBeThere("Cannot download tensor");
        this.#pool.mustExist([staging, buffer]);
      } catch (error) {
        this.#pool.give(staging);
        throw error;
      }
      const encoder = this.#gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer.gpu, 0, staging.gpu, 0, wholeWords(bytes));
      this.#gpu.queue.submit([encoder.finish()]);
      this.#writtenBytes = 0;
      return { staging, storage };
    };
    return this.#pool.settled()?.then(copy) ?? copy();
  }

  #write(held: Held, data: Float32Array | Int32Array): void {
    if (this.#gone !== undefined) return;
    this.#writeBuffer(held, data);
    held.integers?.set(data);
    if (held.shadow) held.shadow.stale = true;
  }

  #writeBuffer({ buffer, storage }: Omit<Contents, "integers">, data: Float32Array | Int32Array): void {
    this.#gpu.queue.writeBuffer(buffer.gpu, 0, storage === "f16" ? wholeHalves(data) : data as BufferSource);
    this.#writtenBytes += data.byteLength;
    if (this.#writtenBytes < WRITTEN_BYTES_MAX) return;
    this.#gpu.queue.submit([]);
    this.#writtenBytes = 0;
  }

  #adopt(dataType: DataType, shape: readonly number[], contents: Contents): DeviceTensor {
    const tensor: DeviceTensor = Object.freeze({ dataType, shape: Object.freeze([...shape]) });
    this.#live.set(tensor, { ...tensor, ...contents, shadow: undefined, live: true });
    this.#bytesInUse += bytesOf(contents.storage, shape);
    return tensor;
  }

  #dropShadow(held: Held): void {
    if (held.shadow) this.#pool.give(held.shadow.buffer);
    held.shadow = undefined;
  }

  #find(action: string, tensor: DeviceTensor): Held {
    const held = this.#live.get(tensor);
    if (held) return held;
    throw new TypeError(
      `${action} ${formatShape(tensor.shape)}: ${this.name} does not hold it, or it was freed`,
    );
  }

  #end(why: string): string {
    this.#gone ??= why;
    return this.#gone;
  }

  #mustBeThere(action: string): void {
    if (this.#gone !== undefined) throw new DeviceLost(`${action}: ${this.name} is gone: ${this.#gone}`);
  }
}

/** Features that are asked for where the adapter has them. */
const FEATURES = ["shader-f16"] as const satisfies readonly GPUFeatureName[];

/** Limits that are raised to what the adapter has. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** `GPUMapMode.READ` */
const MAP_READ = 1;

type MaybePromise<Result> = Result | Promise<Result>;

/** Ops of a graph that WebGPU has no kernel for. */
export function opsWithoutKernel(graph: Graph): readonly OpName[] {
  const ops = new Set(graph.nodes.map(({ op }) => op));
  return [...ops].filter((op) => (OPS[op] as OpRow).webgpu === undefined);
}

function checkIntegers(graph: Graph, ranges: readonly IntegerRange[], given: readonly Held[]): void {
  for (const { value, ...range } of ranges) {
    checkRange(value, { data: given[graph.inputs.indexOf(value)].integers! }, range);
  }
}

function bindable({ dataType, shape, integers }: Held): Bindable {
  return { dataType, shape, data: integers ?? NO_FLOATS };
}

/** Binding reads no floats. */
const NO_FLOATS = new Float32Array(0);

/** Halves, and one more where WebGPU would write half a word. */
function wholeHalves(data: ArrayLike<number>): Float16Array<ArrayBuffer> {
  const halves = new Float16Array(Math.ceil(data.length / 2) * 2);
  halves.set(data);
  return halves;
}

/** Copies are of whole words. */
function wholeWords(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

function promise<Result>(compute: () => MaybePromise<Result>): Promise<Result> {
  return new Promise((resolve) => resolve(compute()));
}
