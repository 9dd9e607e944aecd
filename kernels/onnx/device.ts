/**
 * Runs graphs with ONNX Runtime on the CPU. A graph becomes one session;
 * weights go in as inputs and results come out in buffers that are ours, so
 * that no run copies a tensor. The optimizer alone runs without it, in one pass
 * over those buffers.
 *
 * The native library computes on the thread that calls it: a run blocks its
 * JavaScript thread, and belongs in a worker where that matters.
 */

import * as ort from "onnxruntime-node";
import { bind } from "../bind.ts";
import type { Device, DeviceTensor, HostTensor, Program } from "../device.ts";
import type { Graph, Output, Value } from "../graph.ts";
import { type HostUpdate, hostUpdate } from "../host_update.ts";
import { checkRowCopy, copyRows } from "../row_copy.ts";
import { type StoredTensor, TensorStore } from "../tensor_store.ts";
import { canShareMemory } from "./in_place.ts";
import { inputName, lower, outputName } from "./lower.ts";
import { encodeModel } from "./model.ts";

/** How ONNX Runtime is to run. */
export interface OnnxDeviceOptions {
  /** Threads of one run. Default 1. More than the free cores makes runs slower, not faster. */
  readonly threads?: number;
  /**
   * Whether idle threads burn their core while they wait for the next node. Faster on a machine
   * of one's own, and much slower as soon as processes share the cores. Default `false`.
   */
  readonly spinning?: boolean;
  /**
   * Bytes of freed tensors' memory that are kept for the next tensors of their size.
   * Default 1 GiB; raise it if runs allocate more than that at once and slow down.
   */
  readonly spareBytesMax?: number;
  /** Path prefix for ONNX Runtime's own profile of each session; none by default. */
  readonly profilePrefix?: string;
}

/** ONNX Runtime's CPU provider as a device. */
export class OnnxDevice implements Device {
  readonly name = "onnx";
  readonly #options: OnnxDeviceOptions;
  readonly #store: TensorStore;
  readonly #sessions = new Set<ort.InferenceSession>();
  /** Ends when everything that was asked for so far is done. */
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: OnnxDeviceOptions = {}) {
    this.#options = options;
    this.#store = new TensorStore(this.name, options.spareBytesMax ?? 2 ** 30);
  }

  upload(tensor: HostTensor): DeviceTensor {
    return this.#store.copy(tensor);
  }

  async download(tensor: DeviceTensor): Promise<HostTensor> {
    const stored = this.#store.find("Cannot download tensor", tensor);
    const { dataType, shape, data } = stored;
    return await this.#inTurn([stored], () => ({ dataType, shape, data: data.slice() }));
  }

  write(tensor: DeviceTensor, data: Float32Array | Int32Array): void {
    const target = this.#store.findWritable(tensor, data);
    if (this.#waiting === 0) return target.data.set(data);
    const copy = data.slice();
    void this.#inTurn([target], () => target.data.set(copy));
  }

  async copyRows(source: DeviceTensor, destination: DeviceTensor, rows: Int32Array): Promise<void> {
    const from = this.#store.find("Cannot copy rows of tensor", source);
    const to = this.#store.find("Cannot copy rows into tensor", destination);
    checkRowCopy(from, to, rows);
    const own = rows.slice();
    await this.#inTurn([from, to], () => copyRows(from.data, to, own));
  }

  free(tensor: DeviceTensor): void {
    this.#store.free(tensor);
  }

  async compile(graph: Graph): Promise<Program> {
    const update = hostUpdate(graph);
    if (update) return this.#hostProgram(graph, update);
    const model = lower(graph);
    const session = await ort.InferenceSession.create(encodeModel(model), {
      executionProviders: ["cpu"],
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      enableMemPattern: !meetsAnySize(graph),
      intraOpNumThreads: this.#options.threads ?? 1,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      enableProfiling: this.#options.profilePrefix !== undefined,
      profileFilePrefix: this.#options.profilePrefix,
      extra: { session: { intra_op: { allow_spinning: this.#options.spinning ? "1" : "0" } } },
    });
    this.#sessions.add(session);
    const inPlace = new Set(
      graph.outputs.filter(({ name, updates }) =>
        updates !== undefined && canShareMemory(model, inputName(updates), outputName(name))
      ),
    );
    return {
      run: async (inputs) => {
        if (!this.#sessions.has(session)) {
          throw new TypeError("Cannot run graph: its program was disposed");
        }
        const given = this.#store.findInputs(graph, inputs);
        return await this.#inTurn([...given.values()], () => this.#run(session, graph, given, inPlace));
      },
      dispose: () => this.#inTurn([], () => this.#release(session)),
    };
  }

  bytesInUse(): number {
    return this.#store.bytesInUse;
  }

  async close(): Promise<void> {
    await this.#inTurn([], async () => {
      for (const session of this.#sessions) await this.#release(session);
    });
    this.#store.clear();
  }

  /** A program that runs without the runtime. */
  #hostProgram(graph: Graph, update: HostUpdate): Program {
    let disposed = false;
    return {
      run: async (inputs) => {
        if (disposed) throw new TypeError("Cannot run graph: its program was disposed");
        const given = this.#store.findInputs(graph, inputs);
        return await this.#inTurn([...given.values()], () => {
          bind(graph, given);
          update(given);
          return {};
        });
      },
      dispose: () => this.#inTurn([], () => void (disposed = true)),
    };
  }

  /** One run; nothing else runs meanwhile. */
  async #run(
    session: ort.InferenceSession,
    graph: Graph,
    given: ReadonlyMap<Value, StoredTensor>,
    inPlace: ReadonlySet<Output>,
  ): Promise<Record<string, DeviceTensor>> {
    const shapes = bind(graph, given);
    const feeds: Record<string, ort.Tensor> = {};
    for (const [{ name }, tensor] of given) feeds[inputName(name)] = runtimeTensor(tensor);
    const inputs = new Map(graph.inputs.map((value) => [value.name, given.get(value)!]));
    const fetches: Record<string, ort.Tensor> = {};
    const fresh = new Map<Output, StoredTensor>();
    for (const output of graph.outputs) {
      const { name, value, updates } = output;
      let tensor = inputs.get(updates ?? "");
      if (!inPlace.has(output)) {
        tensor = this.#store.allocate(value.dataType, shapes.get(value)!);
        fresh.set(output, tensor);
      }
      fetches[outputName(name)] = runtimeTensor(tensor!);
    }
    try {
      await session.run(feeds, fetches);
    } catch (error) {
      for (const tensor of fresh.values()) this.#store.free(tensor);
      throw error;
    }
    const results: Record<string, DeviceTensor> = {};
    for (const [{ name, updates }, tensor] of fresh) {
      if (updates === undefined) results[name] = tensor;
      else {
        inputs.get(updates)!.data.set(tensor.data);
        this.#store.free(tensor);
      }
    }
    return results;
  }

  /** Does something after all that was asked for before it; the tensors' memory is not reused until then. */
  #inTurn<Result>(
    tensors: readonly StoredTensor[],
    work: () => Result | Promise<Result>,
  ): Promise<Result> {
    this.#waiting++;
    const unpin = this.#store.pin(tensors);
    const turn = this.#queue.then(work).finally(() => {
      this.#waiting--;
      unpin();
    });
    this.#queue = turn.catch(() => {}); // its caller has the error
    return turn;
  }

  async #release(session: ort.InferenceSession): Promise<void> {
    if (this.#sessions.delete(session)) await session.release();
  }
}

/**
 * Whether runs differ in size all the time, as those over sessions do. The runtime plans its memory anew for each
 * set of sizes and never forgets a plan, which pays where the sizes stay the same.
 */
function meetsAnySize(graph: Graph): boolean {
  return graph.nodes.some(({ op }) => op === "cachedAttention");
}

/** The runtime's view of our memory. */
function runtimeTensor({ dataType, shape, data }: StoredTensor): ort.Tensor {
  return dataType === "f32"
    ? new ort.Tensor("float32", data as Float32Array, shape)
    : new ort.Tensor("int32", data as Int32Array, shape);
}
