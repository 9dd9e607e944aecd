/**
 * Runs graphs with our own WGSL kernels, on whatever GPU WebGPU finds. Tensors
 * stay in the GPU's memory; a run is one command buffer, and nothing waits for
 * the GPU but a download, which holds up no later run.
 *
 * It needs nothing that a browser lacks, and looks for no GPU of its own accord.
 */

import { checkTensor } from "../bind.ts";
import {
  type CompileOptions,
  type Device,
  DeviceLost,
  type DeviceTensor,
  type HostTensor,
  type Program,
} from "../device.ts";
import type { Graph } from "../graph.ts";
import { checkRowCopy } from "../row_copy.ts";
import { gatherInputs } from "../tensor_store.ts";
import { Arena } from "./arena.ts";
import { BufferPool, type PooledBuffer } from "./buffers.ts";
import { type CompiledGraph, Compiler } from "./compiler.ts";
import { PassTimer } from "./pass_timer.ts";
import { bytesOf, type Place, type Plan } from "./plan.ts";
import type { ReadyPlan } from "./ready_plan.ts";
import { RowCopier } from "./row_copier.ts";
import { type Contents, type Held, Tensors } from "./tensors.ts";
import { Turns } from "./turns.ts";
import { HALF_MAX, type Storage, type WgslLimits } from "./writer.ts";

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
  /**
   * Whether kernels for processors are taken, and not those for GPUs. Default: as the adapter says. The other
   * ones compute the same, far more slowly; tests want them.
   */
  readonly software?: boolean;
  /** Whether the GPU is to write down how long it computes, where it can. Default false. */
  readonly timed?: boolean;
}

/** Where the GPU's memory is, in bytes. */
export interface MemoryUse {
  /** Everything that the device holds. */
  readonly held: number;
  /** Of that: elements of live tensors. */
  readonly tensors: number;
  /** Space that runs work in. */
  readonly arena: number;
  /** Not in use. */
  readonly spare: number;
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
  readonly #tensors: Tensors;
  readonly #compiler: Compiler;
  readonly #rowCopier: RowCopier;
  readonly #turns = new Turns();
  readonly #timer: PassTimer | undefined;
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
    const wanted: readonly GPUFeatureName[] = options.timed ? [...FEATURES, TIMES] : FEATURES;
    const device = await adapter.requestDevice({
      requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
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
      software: options.software ?? device.adapterInfo.isFallbackAdapter,
    };
    this.#pool = new BufferPool(device, {
      device: this.name,
      memoryMax: options.memoryMax ?? Infinity,
      spareBytesMax: options.spareBytesMax ?? 2 ** 30,
      bufferBytesMax: Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize),
    });
    this.#arena = new Arena(this.#pool);
    this.#tensors = new Tensors(this.name, this.#pool);
    this.#compiler = new Compiler(device, this.#pool, this.#limits);
    this.#rowCopier = new RowCopier(device, this.#limits);
    this.#timer = device.features.has(TIMES) ? new PassTimer(device) : undefined;
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
    return this.#tensors.adopt(dataType, shape, { buffer, storage, integers });
  }

  write(tensor: DeviceTensor, data: Float32Array | Int32Array): void {
    const held = this.#tensors.find("Cannot write tensor", tensor);
    checkTensor("Cannot write tensor", { ...held, data });
    this.#mustBeThere("Cannot write tensor");
    const copy = this.#turns.idle ? data : data.slice();
    void this.#turns.take(() => this.#write(held, copy));
  }

  async download(tensor: DeviceTensor): Promise<HostTensor> {
    const held = this.#tensors.find("Cannot download tensor", tensor);
    const { dataType, shape } = held;
    // The turn ends when the copy is on its way; waiting for it holds nobody up.
    const { integers, staging, storage } = await this.#turns.take(() => this.#copyOut(held));
    const data = staging ? await this.#read(staging, storage, bytesOf(storage, shape)) : integers!;
    return { dataType, shape, data };
  }

  copyRows(source: DeviceTensor, destination: DeviceTensor, rows: Int32Array): Promise<void> {
    return promise(() => {
      const from = this.#tensors.find("Cannot copy rows of tensor", source);
      const to = this.#tensors.find("Cannot copy rows into tensor", destination);
      checkRowCopy(source, destination, rows);
      const own = rows.slice();
      return this.#turns.take(() => this.#copyRows(from, to, own));
    });
  }

  free(tensor: DeviceTensor): void {
    const held = this.#tensors.end(tensor);
    void this.#turns.take(() => this.#tensors.release(held));
  }

  compile(graph: Graph, { precision = "f32" }: CompileOptions = {}): Promise<Program> {
    return promise(() => {
      this.#mustBeThere("Cannot compile graph");
      let compiled: CompiledGraph | undefined = this.#compiler.compile(graph, precision);
      return {
        run: (inputs) =>
          promise(() => {
            const known = compiled;
            if (!known) throw new TypeError("Cannot run graph: its program was disposed");
            const find = (action: string, tensor: DeviceTensor) => this.#tensors.find(action, tensor);
            const given = [...gatherInputs(graph, inputs, find).values()];
            return this.#turns.take(() => this.#run(known, given));
          }),
        dispose: async () => {
          const known = compiled;
          compiled = undefined;
          await this.#turns.take(() => known?.dispose());
        },
      };
    });
  }

  bytesInUse(): number {
    return this.#tensors.bytesInUse;
  }

  /** Whether programs that ask for 16 bits get them. */
  get halves(): boolean {
    return this.#limits.f16;
  }

  /** Where the GPU's memory is now. */
  memory(): MemoryUse {
    return {
      held: this.#pool.bytes,
      tensors: this.#tensors.bytesInUse,
      arena: this.#arena.bytes,
      spare: this.#pool.spareBytes,
    };
  }

  /**
   * Seconds that the GPU has computed since this was asked last.
   *
   * @returns `undefined` if it can't tell, or the device was not opened `timed`.
   */
  async computedSeconds(): Promise<number | undefined> {
    this.#mustBeThere("Cannot read times");
    return await this.#turns.take(() => this.#timer?.read());
  }

  async close(): Promise<void> {
    await this.#turns.take(() => {
      this.#tensors.clear();
      this.#pool.clear();
      this.#end("it was closed");
      this.#gpu.destroy();
    });
  }

  /** One run. It waits for nothing once its sizes are known and its memory is there. */
  #run(compiled: CompiledGraph, given: readonly Held[]): MaybePromise<Record<string, DeviceTensor>> {
    this.#mustBeThere("Cannot run graph");
    const ready = compiled.planFor(given);
    return ready instanceof Promise
      ? ready.then((ready) => this.#submit(compiled.graph, ready, given))
      : this.#submit(compiled.graph, ready, given);
  }

  /** Takes the memory for a run, and hands it to the GPU; or takes none, and throws. */
  #submit(
    graph: Graph,
    ready: ReadyPlan,
    given: readonly Held[],
  ): MaybePromise<Record<string, DeviceTensor>> {
    const { plan } = ready;
    const shadowed = [...plan.casts.keys()].map((input) => given[input]);
    const taken: PooledBuffer[] = [];
    const newShadows: Held[] = [];
    const giveBack = (error: unknown): never => {
      for (const buffer of taken) this.#pool.give(buffer);
      for (const held of newShadows) this.#tensors.dropShadow(held);
      this.#arena.giveUp();
      throw error;
    };
    try {
      this.#arena.grow(plan.slots, plan.images);
      const fresh = plan.fresh.map(({ storage, shape, takesOver }) => {
        if (takesOver !== undefined) return given[takesOver].buffer;
        const buffer = this.#pool.take(bytesOf(storage, shape), "storage");
        taken.push(buffer);
        return buffer;
      });
      for (const held of shadowed) if (this.#tensors.addShadow(held)) newShadows.push(held);
      const submit = () => {
        this.#mustBeThere("Cannot run graph");
        this.#pool.mustExist([
          ...this.#arena.buffers,
          ...this.#arena.images,
          ...fresh,
          ...(ready.sizesBuffer ? [ready.sizesBuffer] : []),
          ...given.map(({ buffer }) => buffer),
          ...shadowed.map(({ shadow }) => shadow!.buffer),
        ]);
        this.#encode(ready, given, fresh);
        this.#arena.rest();
        return this.#yield(graph, plan, given, fresh);
      };
      return this.#pool.settled()?.then(submit).catch(giveBack) ?? submit();
    } catch (error) {
      return giveBack(error);
    }
  }

  /** Writes a run down and hands it to the GPU. */
  #encode(ready: ReadyPlan, given: readonly Held[], fresh: readonly PooledBuffer[]): void {
    const { plan } = ready;
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
    const ground = { at, images: this.#arena.images };
    const encoder = this.#gpu.createCommandEncoder();
    if (plan.steps.length > 0) {
      const pass = encoder.beginComputePass(this.#timer?.next());
      for (const input of plan.casts.keys()) {
        const shadow = given[input].shadow!;
        if (shadow.stale) ready.encodeCast(pass, input, ground);
        shadow.stale = false;
      }
      ready.encode(pass, ground);
      pass.end();
    }
    for (const { from, to, bytes } of plan.copies) {
      encoder.copyBufferToBuffer(at(from).gpu, 0, fresh[to].gpu, 0, wholeWords(bytes));
    }
    this.#hand(encoder);
  }

  /** Hands out what a run has made: updated tensors get its buffers, and all else is a tensor of its own. */
  #yield(
    graph: Graph,
    plan: Plan,
    given: readonly Held[],
    fresh: readonly PooledBuffer[],
  ): Record<string, DeviceTensor> {
    const results: Record<string, DeviceTensor> = {};
    const indexOf = new Map(graph.inputs.map(({ name }, index) => [name, index]));
    const before = given.map(({ integers }) => integers);
    const takenOver = new Set(plan.fresh.map(({ takesOver }) => takesOver));
    graph.outputs.forEach(({ name, value, updates }, output) => {
      const index = plan.outputs[output];
      const { storage, shape } = plan.fresh[index];
      const made: Contents = {
        buffer: fresh[index],
        storage,
        integers: before[graph.inputs.indexOf(value)]?.slice(),
      };
      if (updates === undefined) {
        results[name] = this.#tensors.adopt(value.dataType, shape, made);
        return;
      }
      const target = indexOf.get(updates)!;
      if (!takenOver.has(target)) this.#pool.give(given[target].buffer);
      this.#tensors.place(given[target], made);
    });
    return results;
  }

  /** Hands a copy of rows to the GPU. */
  #copyRows(from: Held, to: Held, rows: Int32Array<ArrayBuffer>): MaybePromise<void> {
    this.#mustBeThere("Cannot copy rows");
    if (rows.length === 0) return;
    const width = to.shape.at(-1)!;
    const kernel = this.#rowCopier.kernelFor(from.storage, to.storage, width);
    if (kernel instanceof Promise) return kernel.then(() => this.#copyRows(from, to, rows));
    const list = this.#pool.take(rows.byteLength, "storage");
    const copy = () => {
      try {
        this.#mustBeThere("Cannot copy rows");
        this.#pool.mustExist([list, from.buffer, to.buffer]);
        this.#gpu.queue.writeBuffer(list.gpu, 0, rows);
        const encoder = this.#gpu.createCommandEncoder();
        const [source, destination] = [from.buffer, to.buffer];
        this.#rowCopier.encode(encoder, kernel, {
          source,
          destination,
          rows: list,
          count: rows.length,
          width,
        });
        this.#hand(encoder);
        if (to.shadow) to.shadow.stale = true;
      } finally {
        this.#pool.give(list);
      }
    };
    return this.#pool.settled()?.then(copy) ?? copy();
  }

  /** Starts to copy a tensor's contents into memory that the host can read. Integers are there already. */
  #copyOut(held: Held): MaybePromise<
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
      this.#hand(encoder);
      return { staging, storage };
    };
    return this.#pool.settled()?.then(copy) ?? copy();
  }

  /** Waits for what is on its way into memory that the host can read. */
  async #read(staging: PooledBuffer, storage: Storage, bytes: number): Promise<Float32Array> {
    try {
      await staging.gpu.mapAsync(MAP_READ);
    } catch (error) {
      // Nothing else keeps a buffer that is there from being mapped; the word of it may come later.
      this.#pool.destroy(staging);
      this.#end(error instanceof Error ? error.message : String(error));
    }
    this.#mustBeThere("Cannot download tensor");
    const copy = staging.gpu.getMappedRange().slice(0, bytes);
    staging.gpu.unmap();
    this.#pool.give(staging);
    return storage === "f16" ? Float32Array.from(new Float16Array(copy)) : new Float32Array(copy);
  }

  #write(held: Held, data: Float32Array | Int32Array): void {
    if (this.#gone !== undefined) return;
    this.#writeBuffer(held, data);
    held.integers?.set(data);
    if (held.shadow) held.shadow.stale = true;
  }

  #writeBuffer(
    { buffer, storage }: Pick<Contents, "buffer" | "storage">,
    data: Float32Array | Int32Array,
  ): void {
    this.#gpu.queue.writeBuffer(buffer.gpu, 0, storage === "f16" ? wholeHalves(data) : data as BufferSource);
    this.#writtenBytes += data.byteLength;
    if (this.#writtenBytes >= WRITTEN_BYTES_MAX) this.#hand();
  }

  #hand(encoder?: GPUCommandEncoder): void {
    this.#gpu.queue.submit(encoder ? [encoder.finish()] : []);
    this.#writtenBytes = 0;
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

/** Feature of GPUs that write down how long they compute. */
const TIMES = "timestamp-query";

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

/** Halves, and one more where WebGPU would write half a word. */
function wholeHalves(data: ArrayLike<number>): Float16Array<ArrayBuffer> {
  const halves = new Float16Array(Math.ceil(data.length / 2) * 2);
  // As kernels do it. Not a number stays that.
  for (let i = 0; i < data.length; i++) halves[i] = Math.max(-HALF_MAX, Math.min(HALF_MAX, data[i]));
  return halves;
}

/** Copies are of whole words. */
function wholeWords(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

function promise<Result>(compute: () => MaybePromise<Result>): Promise<Result> {
  return new Promise((resolve) => resolve(compute()));
}
