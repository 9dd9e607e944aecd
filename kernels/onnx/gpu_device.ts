/**
 * Runs graphs with one of ONNX Runtime's GPU providers. With WebGPU, results
 * stay on the GPU, and what is uploaded goes there the second time that a run
 * reads it; with CUDA the runtime's Node.js binding gives every result back in
 * host memory. The optimizer runs on the CPU, whose arithmetic is the same on
 * every machine: replicas must agree to the bit, and GPUs don't.
 *
 * It never reads a GPU tensor where it lies: the runtime would abort the
 * process. A copy through a model that does nothing else brings it back.
 */

import * as ort from "onnxruntime-node";
import { bind, checkTensor } from "../bind.ts";
import {
  type DataType,
  type Device,
  DeviceLost,
  type DeviceTensor,
  type HostTensor,
  type NamedTensors,
  type Program,
} from "../device.ts";
import type { Graph, Value } from "../graph.ts";
import { type HostUpdate, hostUpdate } from "../host_update.ts";
import { checkRowCopy, copyRows } from "../row_copy.ts";
import { elementCount, formatShape } from "../shapes.ts";
import { gatherInputs } from "../tensor_store.ts";
import { inputName, lower, outputName } from "./lower.ts";
import { encodeModel, ONNX_TYPE, type OnnxModel } from "./model.ts";

/** Providers that compute on a GPU. */
export type GpuProvider = "cuda" | "webgpu";

/** What to do where a provider does not work. */
const REMEDY: Readonly<Record<GpuProvider, string>> = {
  cuda:
    "it takes Linux on x64, an NVIDIA GPU, CUDA 12, cuDNN 9 in LD_LIBRARY_PATH, and ONNX Runtime's CUDA " +
    "part, which `deno install --allow-scripts=npm:onnxruntime-node` fetches",
  webgpu:
    "it takes a GPU whose driver offers Vulkan, Metal or Direct3D 12 (`deno task devices` lists what there is)",
};

/** Where in its own source the runtime found that something is not so. */
const SOURCE_LINE = /^\/\S+\.cc:\d+ .* was false\. /s;

/** A tensor of this device: its contents are in one place, and may move. */
interface Held extends DeviceTensor {
  /** Contents, where they are in host memory. Integers always are. */
  host: Float32Array | Int32Array | undefined;
  /** Contents, where they are on the GPU. */
  remote: ort.Tensor | undefined;
  /** Whether a run has read it from host memory. */
  wasRead: boolean;
}

/** Where a model's results go. */
type Location = "cpu" | "gpu-buffer";

/** A GPU provider of ONNX Runtime as a device. */
export class OnnxGpuDevice implements Device {
  readonly name: string;
  readonly #provider: GpuProvider;
  readonly #live = new Set<DeviceTensor>();
  readonly #sessions = new Set<ort.InferenceSession>();
  /** Models that copy, by rank and destination. */
  readonly #copiers = new Map<string, Promise<ort.InferenceSession>>();
  #bytesInUse = 0;
  /** Ends when everything that was asked for so far is done. */
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #lost: DeviceLost | undefined;

  private constructor(provider: GpuProvider) {
    this.#provider = provider;
    this.name = `onnx-${provider}`;
  }

  /**
   * Opens a provider, and has it copy a number.
   *
   * @throws {Error} if it does not work on this machine; the message says what would help.
   */
  static async open(provider: GpuProvider): Promise<OnnxGpuDevice> {
    const device = new OnnxGpuDevice(provider);
    try {
      await device.#tryOut();
      await device.close();
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      const reason = words.replace(SOURCE_LINE, "").trim();
      throw new Error(
        `Cannot compute with ONNX Runtime's ${provider} provider: ${REMEDY[provider]} (${reason})`,
      );
    }
    return new OnnxGpuDevice(provider);
  }

  /** Where results stay between runs. */
  get #resting(): Location {
    return this.#provider === "webgpu" ? "gpu-buffer" : "cpu";
  }

  upload(tensor: HostTensor): DeviceTensor {
    checkTensor("Cannot upload tensor", tensor);
    return this.#add(tensor.dataType, tensor.shape, { host: tensor.data.slice() });
  }

  async download(tensor: DeviceTensor): Promise<HostTensor> {
    const held = this.#find("Cannot download tensor", tensor);
    const { dataType, shape } = held;
    return await this.#inTurn(async () => {
      const data = held.host?.slice() ?? await this.#fetch(held);
      return { dataType, shape, data };
    });
  }

  write(tensor: DeviceTensor, data: Float32Array | Int32Array): void {
    const held = this.#find("Cannot write tensor", tensor);
    checkTensor("Cannot write tensor", { ...held, data });
    const host = data.slice();
    if (this.#waiting === 0) place(held, { host });
    else void this.#inTurn(() => place(held, { host }));
  }

  async copyRows(source: DeviceTensor, destination: DeviceTensor, rows: Int32Array): Promise<void> {
    const from = this.#find("Cannot copy rows of tensor", source);
    const to = this.#find("Cannot copy rows into tensor", destination);
    checkRowCopy(from, to, rows);
    const own = rows.slice();
    await this.#inTurn(() => this.#copyRows(from, to, own));
  }

  free(tensor: DeviceTensor): void {
    const held = this.#find("Cannot free tensor", tensor);
    this.#live.delete(tensor);
    this.#bytesInUse -= bytesOf(held);
    // Runs that were asked for before may still read it.
    if (this.#waiting === 0) place(held, {});
    else void this.#inTurn(() => place(held, {}));
  }

  async compile(graph: Graph): Promise<Program> {
    const update = hostUpdate(graph);
    if (update !== undefined) return this.#hostProgram(graph, update);
    // The optimizer's bits must be those of every other replica, whatever else is in the graph.
    const onCpu = graph.nodes.some(({ op }) => op === "adamw");
    const location = onCpu ? "cpu" : this.#resting;
    const session = await this.#open(
      lower(graph, onCpu ? "cpu" : this.#provider),
      onCpu ? {} : this.#locations(graph),
      onCpu,
    );
    return {
      run: async (inputs) => {
        if (!this.#sessions.has(session)) throw new TypeError("Cannot run graph: its program was disposed");
        const given = this.#findInputs(graph, inputs);
        return await this.#inTurn(() => this.#run(session, graph, given, location));
      },
      dispose: () => this.#inTurn(() => this.#release(session)),
    };
  }

  bytesInUse(): number {
    return this.#bytesInUse;
  }

  async close(): Promise<void> {
    await this.#inTurn(async () => {
      for (const tensor of this.#live) place(tensor as Held, {});
      for (const session of this.#sessions) await this.#release(session);
    }).catch((error) => {
      if (!(error instanceof DeviceLost)) throw error;
    });
    this.#live.clear();
    this.#copiers.clear();
    this.#bytesInUse = 0;
  }

  /** A program over tensors in host memory, where it leaves them. */
  #hostProgram(graph: Graph, update: HostUpdate): Program {
    let disposed = false;
    return {
      run: async (inputs) => {
        if (disposed) throw new TypeError("Cannot run graph: its program was disposed");
        const given = this.#findInputs(graph, inputs);
        return await this.#inTurn(async () => {
          for (const held of given.values()) {
            if (held.host === undefined) place(held, { host: await this.#fetch(held) });
          }
          const tensors = new Map([...given].map(([value, held]) => [value, bindable(held)]));
          bind(graph, tensors);
          update(tensors);
          // What is read on the GPU goes there again.
          for (const held of given.values()) held.wasRead = false;
          return {};
        });
      },
      dispose: () => this.#inTurn(() => void (disposed = true)),
    };
  }

  async #run(
    session: ort.InferenceSession,
    graph: Graph,
    given: ReadonlyMap<Value, Held>,
    location: Location,
  ): Promise<Record<string, DeviceTensor>> {
    const shapes = bind(graph, new Map([...given].map(([value, held]) => [value, bindable(held)])));
    const feeds: Record<string, ort.Tensor> = {};
    for (const [{ name }, held] of given) feeds[inputName(name)] = await this.#feed(held, location);
    const found = await session.run(feeds);
    const inputs = new Map([...given].map(([{ name }, held]) => [name, held]));
    const results: Record<string, DeviceTensor> = {};
    for (const output of graph.outputs) {
      const contents = contentsOf(found[outputName(output.name)]);
      if (output.updates !== undefined) place(inputs.get(output.updates)!, contents);
      else results[output.name] = this.#add(output.value.dataType, shapes.get(output.value)!, contents);
    }
    return results;
  }

  /** The tensor as a run takes it: on the GPU, if it is read there more than once. */
  async #feed(held: Held, location: Location): Promise<ort.Tensor> {
    if (location === "cpu") return runtimeTensor(held, await this.#fetch(held));
    if (held.remote !== undefined) return held.remote;
    if (held.dataType === "f32" && held.wasRead) {
      const copy = await this.#copy(held, location);
      place(held, contentsOf(copy));
      return copy;
    }
    held.wasRead = true;
    return runtimeTensor(held, held.host!);
  }

  /** Its contents in host memory; not a copy where they lie there. */
  async #fetch(held: Held): Promise<Float32Array | Int32Array> {
    return held.host ?? (await this.#copy(held, "cpu")).data as Float32Array;
  }

  /** A copy somewhere else. Floats only. */
  async #copy(held: Held, to: Location): Promise<ort.Tensor> {
    const rank = held.shape.length;
    const key = `${rank} ${to}`;
    let copier = this.#copiers.get(key);
    if (copier === undefined) this.#copiers.set(key, copier = this.#open(copyModel(rank), { y: to }, false));
    const x = held.remote ?? runtimeTensor(held, held.host!);
    return (await (await copier).run({ x })).y;
  }

  /** Where the destination lies: on the GPU that is a new tensor, as no run of the runtime writes over an old one. */
  async #copyRows(from: Held, to: Held, rows: Int32Array): Promise<void> {
    if (rows.length === 0) return;
    if (to.host !== undefined) {
      return copyRows(await this.#fetch(from), { shape: to.shape, data: to.host }, rows);
    }
    const width = to.shape.at(-1)!;
    const key = `scatter ${to.shape.length} ${width}`;
    let scatter = this.#copiers.get(key);
    if (scatter === undefined) {
      const model = scatterModel(to.shape.length, width);
      this.#copiers.set(key, scatter = this.#open(model, { y: "gpu-buffer" }, false));
    }
    const data = await this.#fetch(from);
    const update = new ort.Tensor(
      "float32",
      (data as Float32Array).subarray(0, rows.length * width),
      [rows.length, width],
    );
    const places = new ort.Tensor("int64", BigInt64Array.from(rows, BigInt), [rows.length, 1]);
    const { y } = await (await scatter).run({ x: to.remote!, update, places });
    place(to, contentsOf(y));
  }

  /** Where a graph's results go. What is integer is read here, to be checked. */
  #locations({ outputs }: Graph): Record<string, Location> {
    return Object.fromEntries(
      outputs.map(({ name, value }) => [outputName(name), value.dataType === "f32" ? this.#resting : "cpu"]),
    );
  }

  async #open(
    model: OnnxModel,
    locations: Readonly<Record<string, Location>>,
    onCpu: boolean,
  ): Promise<ort.InferenceSession> {
    const someOnGpu = Object.values(locations).includes("gpu-buffer");
    const session = await ort.InferenceSession.create(encodeModel(model), {
      executionProviders: onCpu ? ["cpu"] : [this.#provider, "cpu"],
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      ...someOnGpu ? { preferredOutputLocation: locations } : {},
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
    this.#sessions.add(session);
    return session;
  }

  #add(
    dataType: DataType,
    shape: readonly number[],
    contents: { readonly host?: Float32Array | Int32Array; readonly remote?: ort.Tensor },
  ): Held {
    const held: Held = {
      dataType,
      shape: Object.freeze([...shape]),
      host: contents.host,
      remote: contents.remote,
      wasRead: false,
    };
    this.#live.add(held);
    this.#bytesInUse += bytesOf(held);
    return held;
  }

  #find(action: string, tensor: DeviceTensor): Held {
    if (this.#live.has(tensor)) return tensor as Held;
    throw new TypeError(
      `${action} ${formatShape(tensor.shape)}: ${this.name} does not hold it, or it was freed`,
    );
  }

  #findInputs(graph: Graph, inputs: NamedTensors): Map<Value, Held> {
    return gatherInputs(graph, inputs, (action, tensor) => this.#find(action, tensor));
  }

  /** Does something after all that was asked for before it. */
  #inTurn<Result>(work: () => Result | Promise<Result>): Promise<Result> {
    this.#waiting++;
    const turn = this.#queue.then(async () => {
      try {
        if (this.#lost) throw this.#lost;
        return await work();
      } catch (error) {
        throw await this.#judge(error);
      } finally {
        this.#waiting--;
      }
    });
    this.#queue = turn.catch(() => {}); // its caller has the error
    return turn;
  }

  /**
   * The runtime has no sign for a device that is gone, and its words differ by provider, driver and version. So
   * after an error of the runtime's own the device is tried out: one that can't even copy a number is gone.
   */
  async #judge(error: unknown): Promise<unknown> {
    const ours = error instanceof DeviceLost || error instanceof TypeError || error instanceof RangeError;
    if (ours || !(error instanceof Error)) return error;
    try {
      await this.#tryOut();
      return error;
    } catch {
      this.#lost = new DeviceLost(`Cannot go on with ${this.name}: ${error.message}`);
      return this.#lost;
    }
  }

  /** Has the provider copy a number. */
  async #tryOut(): Promise<void> {
    const one: Held = {
      dataType: "f32",
      shape: [1],
      host: Float32Array.of(1),
      remote: undefined,
      wasRead: false,
    };
    const copy = await this.#copy(one, this.#resting);
    // Only a number that has come back shows that the GPU has computed.
    await this.#copy({ ...one, ...contentsOf(copy) }, "cpu");
    copy.dispose();
  }

  async #release(session: ort.InferenceSession): Promise<void> {
    if (this.#sessions.delete(session)) await session.release();
  }
}

/** Gives a tensor its contents, wherever they are; what was there before is freed. */
function place(
  held: Held,
  { host, remote }: { readonly host?: Float32Array | Int32Array; readonly remote?: ort.Tensor },
): void {
  if (held.remote !== remote) held.remote?.dispose();
  held.host = host;
  held.remote = remote;
  held.wasRead = false;
}

function contentsOf(tensor: ort.Tensor): { host: Float32Array } | { remote: ort.Tensor } {
  return tensor.location === "cpu" ? { host: tensor.data as Float32Array } : { remote: tensor };
}

function runtimeTensor({ dataType, shape }: DeviceTensor, data: Float32Array | Int32Array): ort.Tensor {
  return dataType === "f32"
    ? new ort.Tensor("float32", data as Float32Array, shape)
    : new ort.Tensor("int32", data as Int32Array, shape);
}

/** What binding looks at: shapes, and the values of integers. */
function bindable({ dataType, shape, host }: Held) {
  return { dataType, shape, data: host ?? new Float32Array() };
}

function bytesOf({ shape }: DeviceTensor): number {
  return elementCount(shape) * 4;
}

/** A model that copies a tensor of this rank. */
function copyModel(rank: number): OnnxModel {
  const shape = Array.from({ length: rank }, (_, axis) => `D${axis}`);
  const value = (name: string) => ({ name, type: ONNX_TYPE.f32, shape });
  const node = { operator: "Identity", domain: "", inputs: ["x"], outputs: ["y"], attributes: {} };
  return { inputs: [value("x")], outputs: [value("y")], constants: [], nodes: [node] };
}

/** A model that copies a tensor of this rank, but for some of its rows. */
function scatterModel(rank: number, width: number): OnnxModel {
  const shape = [...Array.from({ length: rank - 1 }, (_, axis) => `D${axis}`), width];
  const node = (operator: string, inputs: readonly string[], output: string) => ({
    operator,
    domain: "",
    inputs,
    outputs: [output],
    attributes: {},
  });
  return {
    inputs: [
      { name: "x", type: ONNX_TYPE.f32, shape },
      { name: "update", type: ONNX_TYPE.f32, shape: ["N", width] },
      { name: "places", type: ONNX_TYPE.i64, shape: ["N", 1] },
    ],
    outputs: [{ name: "y", type: ONNX_TYPE.f32, shape }],
    constants: [{
      name: "flat",
      type: ONNX_TYPE.i64,
      shape: [2],
      bytes: new Uint8Array(BigInt64Array.of(-1n, BigInt(width)).buffer),
    }],
    nodes: [
      node("Reshape", ["x", "flat"], "rows"),
      node("ScatterND", ["rows", "places", "update"], "replaced"),
      node("Shape", ["x"], "shape"),
      node("Reshape", ["replaced", "shape"], "y"),
    ],
  };
}
