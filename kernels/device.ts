/**
 * What a machine must be able to do to hold a stage: keep tensors, compile a
 * graph once, run it many times. It does not know models, peers or time.
 *
 * Small on purpose, so that another device (WebGPU, say) is one folder more.
 */

import type { Graph } from "./graph.ts";

/** Element type of a tensor. Token ids and positions are `i32`, all else `f32`. */
export type DataType = "f32" | "i32";

/** Plain row-major tensor in host memory. */
export interface HostTensor {
  /** Of its elements. */
  readonly dataType: DataType;
  /** Sizes, the slowest dimension first. */
  readonly shape: readonly number[];
  /** product(shape) elements. */
  readonly data: Float32Array | Int32Array;
}

/**
 * A tensor that lives on a device. Opaque: only the device that made it can
 * read it. It belongs to whoever asked for it, who frees it (see `Scope`).
 */
export interface DeviceTensor {
  /** Of its elements. */
  readonly dataType: DataType;
  /** Sizes, the slowest dimension first. */
  readonly shape: readonly number[];
}

/** Tensors by the name that the graph gives them. */
export type NamedTensors = Readonly<Record<string, DeviceTensor>>;

/** A compiled graph. Safe to run many times, with any batch and sequence size. */
export interface Program {
  /**
   * Runs the graph once. Every graph input must be given. Outputs that the
   * graph declares as *updates* of an input are written into that input's
   * tensor in place and do not appear in the result; all other outputs are
   * fresh tensors, which the caller frees.
   *
   * Runs of one device are serialised in the order of the calls.
   *
   * @throws {TypeError} if an input is missing, or its type or shape does not fit.
   */
  run(inputs: NamedTensors): Promise<Record<string, DeviceTensor>>;
  /** Frees what compiling took. */
  dispose(): Promise<void>;
}

/** How a graph is to be computed. */
export interface CompileOptions {
  /**
   * `f16`: a device that can keeps what only its own programs read (values within a run, what forward
   * saves for backward, a copy of the weights) in 16 bits, and computes in 32. Others take no notice.
   * Default `f32`.
   */
  readonly precision?: Precision;
}

/** Bits in which a run keeps what it may round. */
export type Precision = "f32" | "f16";

/** Somewhere to compute. */
export interface Device {
  /** `reference`, `onnx`, … */
  readonly name: string;
  /**
   * Chains of upload, run and download that it pays to have under way at once, since a run resolves
   * before it is done. Without it, 1.
   */
  readonly inFlightMax?: number;
  /** Copies a host tensor onto the device. */
  upload(tensor: HostTensor): DeviceTensor;
  /**
   * Copies a tensor's contents back. The result is the caller's own: a later
   * run never changes it.
   */
  download(tensor: DeviceTensor): Promise<HostTensor>;
  /** Overwrites a tensor's contents in place. Shape and type must be equal. */
  write(tensor: DeviceTensor, data: Float32Array | Int32Array): void;
  /**
   * Copies row i of `source` over row `rows[i]` of `destination`. Both are seen as lists of rows, as wide
   * as the last dimension of `destination`; rows of `source` beyond `rows` are left out. Takes its turn among
   * runs, writes and downloads, so that nobody has to wait for it before he asks for those.
   *
   * @param rows no row twice. Copied at once.
   * @throws {TypeError} if one of the tensors was freed or is not `f32`, both are the same, the last
   *   dimension of `source` is no multiple of a row, or a row is not there.
   */
  copyRows(source: DeviceTensor, destination: DeviceTensor, rows: Int32Array): Promise<void>;
  /** Gives a tensor's memory back. Using it afterwards is a bug and throws. */
  free(tensor: DeviceTensor): void;
  /** Compiles a graph, once; the program serves all later runs. */
  compile(graph: Graph, options?: CompileOptions): Promise<Program>;
  /** Bytes that live tensors of this device hold now. */
  bytesInUse(): number;
  /** Frees everything. */
  close(): Promise<void>;
}

/**
 * The device is gone, and every tensor on it: its driver was reset, or the
 * machine slept. All calls reject with this from then on; open another device.
 */
export class DeviceLost extends Error {
  /** Tells it from other errors, also behind a thread. */
  override name = "DeviceLost";
}
