/**
 * The live tensors of a device whose memory is the host's: who is alive, how
 * many bytes they hold, and buffers to use again. It does not compute.
 */

import { checkTensor } from "./bind.ts";
import type { DataType, DeviceTensor, HostTensor, NamedTensors } from "./device.ts";
import { roundedUp } from "./few_sizes.ts";
import type { Graph, Value } from "./graph.ts";
import { elementCount, formatShape } from "./shapes.ts";

/** Of buffers: tensors of any number of rows share a few, each up to an eighth larger than what it holds. */
const SIZES_PER_DOUBLING = 8;

/** A tensor in host memory that a device owns. */
export interface StoredTensor extends DeviceTensor {
  readonly data: Float32Array | Int32Array;
}

/** Where a device keeps its tensors. */
export class TensorStore {
  readonly #device: string;
  readonly #live = new Set<DeviceTensor>();
  /** Buffers of freed tensors by their size; the size that was asked for or given back longest ago stands first. */
  readonly #spare = new Map<number, ArrayBuffer[]>();
  readonly #pins = new Map<StoredTensor, number>();
  readonly #spareBytesMax: number;
  #spareBytes = 0;
  #bytesInUse = 0;

  /**
   * @param device name of the device, for messages.
   * @param spareBytesMax bytes of freed buffers that are kept for tensors of about the same size. Fresh
   *   memory must be zeroed and mapped page by page, which costs more than an elementwise op.
   */
  constructor(device: string, spareBytesMax: number) {
    this.#device = device;
    this.#spareBytesMax = spareBytesMax;
  }

  /** Bytes that live tensors hold. */
  get bytesInUse(): number {
    return this.#bytesInUse;
  }

  /** A live tensor. Its contents are left over from another one. */
  allocate(dataType: DataType, shape: readonly number[]): StoredTensor {
    const length = elementCount(shape);
    // By the exact size each length of a text would leave a buffer of its own behind.
    const bytes = 4 * roundedUp(length, SIZES_PER_DOUBLING);
    const buffer = this.#takeSpare(bytes) ?? new ArrayBuffer(bytes);
    const data = dataType === "f32" ? new Float32Array(buffer, 0, length) : new Int32Array(buffer, 0, length);
    const tensor: StoredTensor = Object.freeze({ dataType, shape: Object.freeze([...shape]), data });
    this.#live.add(tensor);
    this.#bytesInUse += data.byteLength;
    return tensor;
  }

  /**
   * A live tensor with a copy of these contents.
   *
   * @throws {TypeError} if the data is not what type and shape say.
   */
  copy(tensor: HostTensor): StoredTensor {
    checkTensor("Cannot upload tensor", tensor);
    const stored = this.allocate(tensor.dataType, tensor.shape);
    stored.data.set(tensor.data);
    return stored;
  }

  /**
   * The tensor as its store knows it.
   *
   * @param action begins the message, as in `Cannot download tensor`.
   * @throws {TypeError} if it was freed, or is another device's.
   */
  find(action: string, tensor: DeviceTensor): StoredTensor {
    if (this.#live.has(tensor)) return tensor as StoredTensor;
    throw new TypeError(
      `${action} ${formatShape(tensor.shape)}: ${this.#device} does not hold it, or it was freed`,
    );
  }

  /**
   * The tensors that a graph asks for. Others are ignored.
   *
   * @throws {TypeError} if one is missing, was freed, is another device's, or is updated while it is
   *   also another input.
   */
  findInputs(graph: Graph, inputs: NamedTensors): Map<Value, StoredTensor> {
    return gatherInputs(graph, inputs, (action, tensor) => this.find(action, tensor));
  }

  /**
   * A tensor that can take this data.
   *
   * @throws {TypeError} if it was freed, or type or length differ.
   */
  findWritable(tensor: DeviceTensor, data: Float32Array | Int32Array): StoredTensor {
    const stored = this.find("Cannot write tensor", tensor);
    checkTensor("Cannot write tensor", { ...stored, data });
    return stored;
  }

  /**
   * Keeps memory of these tensors from being used again, even if they are freed.
   *
   * @returns what ends this.
   */
  pin(tensors: readonly StoredTensor[]): () => void {
    for (const tensor of tensors) this.#pins.set(tensor, (this.#pins.get(tensor) ?? 0) + 1);
    return () => {
      for (const tensor of tensors) {
        const left = this.#pins.get(tensor)! - 1;
        if (left > 0) this.#pins.set(tensor, left);
        else this.#pins.delete(tensor);
      }
    };
  }

  /** Ends a tensor's life; its buffer serves the next one of about its size. */
  free(tensor: DeviceTensor): void {
    const stored = this.find("Cannot free tensor", tensor);
    const { data } = stored;
    this.#live.delete(tensor);
    this.#bytesInUse -= data.byteLength;
    const buffer = data.buffer as ArrayBuffer;
    if (this.#pins.has(stored) || buffer.byteLength > this.#spareBytesMax) return;
    this.#ofSize(buffer.byteLength).push(buffer);
    this.#spareBytes += buffer.byteLength;
    while (this.#spareBytes > this.#spareBytesMax) this.#dropOldest();
  }

  /** Ends every tensor's life. */
  clear(): void {
    this.#live.clear();
    this.#spare.clear();
    this.#spareBytes = 0;
    this.#bytesInUse = 0;
  }

  #takeSpare(bytes: number): ArrayBuffer | undefined {
    if (!this.#spare.has(bytes)) return undefined;
    const buffer = this.#ofSize(bytes).pop();
    if (buffer) this.#spareBytes -= bytes;
    return buffer;
  }

  /** Spare buffers of a size, which now counts as used. */
  #ofSize(bytes: number): ArrayBuffer[] {
    const buffers = this.#spare.get(bytes) ?? [];
    this.#spare.delete(bytes);
    this.#spare.set(bytes, buffers);
    return buffers;
  }

  /** Of the size that nobody has used for longest. */
  #dropOldest(): void {
    const [[bytes, buffers]] = this.#spare;
    if (buffers.shift()) this.#spareBytes -= bytes;
    if (buffers.length === 0) this.#spare.delete(bytes);
  }
}

/**
 * The tensors that a graph asks for. Others are ignored.
 *
 * @param find a tensor as its device knows it; throws if it knows none.
 * @throws {TypeError} if one is missing, not known, or updated while it is also another input.
 */
export function gatherInputs<Known extends DeviceTensor>(
  graph: Graph,
  inputs: NamedTensors,
  find: (action: string, tensor: DeviceTensor) => Known,
): Map<Value, Known> {
  const found = new Map<Value, Known>();
  const uses = new Map<Known, number>();
  for (const value of graph.inputs) {
    const tensor = Object.hasOwn(inputs, value.name) ? inputs[value.name] : undefined;
    if (!tensor) throw new TypeError(`Cannot run graph: input ${value.name} is missing`);
    const known = find(`Cannot run graph with ${value.name}`, tensor);
    found.set(value, known);
    uses.set(known, (uses.get(known) ?? 0) + 1);
  }
  for (const value of graph.inputs) {
    const updated = graph.outputs.some(({ updates }) => updates === value.name);
    if (updated && uses.get(found.get(value)!)! > 1) {
      throw new TypeError(`Cannot run graph: ${value.name} is updated and also another input`);
    }
  }
  return found;
}
