/**
 * The GPU's memory, in buffers and images that are used again: who takes one, how many
 * bytes there are in all, and how many there may be. It knows no tensor.
 *
 * A buffer may be given back, and taken by the next, while the GPU still works
 * on it: a queue runs what it is given in order.
 */

import { IMAGE_WIDTH } from "./writer.ts";

/** What a buffer is for. WebGPU lets no buffer be both computed on and mapped. */
export type BufferKind = "storage" | "uniform" | "readback";

/** Memory of a pool. */
interface Pooled {
  readonly gpu: { destroy(): void };
  readonly kind: BufferKind | "image";
  /** What was asked for, rounded up. */
  readonly bytes: number;
  /** Its own in this pool, and never another's. */
  readonly id: number;
}

/** A buffer of a pool. */
export interface PooledBuffer extends Pooled {
  readonly gpu: GPUBuffer;
  readonly kind: BufferKind;
}

/** An image of a pool: see `WgslImage`. */
export interface PooledImage extends Pooled {
  readonly gpu: GPUTexture;
  readonly kind: "image";
  readonly view: GPUTextureView;
}

/** Bounds of a pool. */
export interface BufferPoolOptions {
  /** Name of the device, for messages. */
  readonly device: string;
  /** Bytes of all buffers together. */
  readonly memoryMax: number;
  /** Bytes of buffers that nobody uses and that are kept for the next. */
  readonly spareBytesMax: number;
  /** Bytes of one buffer. */
  readonly bufferBytesMax: number;
}

/** Flags of `GPUBufferUsage`, which is not a global name wherever WebGPU is. */
const USAGE: Readonly<Record<BufferKind, number>> = {
  storage: 0x80 | 0x04 | 0x08, // STORAGE | COPY_SRC | COPY_DST
  uniform: 0x40 | 0x08, // UNIFORM | COPY_DST
  readback: 0x01 | 0x08, // MAP_READ | COPY_DST
};

/** `TEXTURE_BINDING | STORAGE_BINDING` of `GPUTextureUsage`. */
const IMAGE_USAGE = 0x04 | 0x08;

/** Of an image. */
const ROW_BYTES = 16 * IMAGE_WIDTH;

/** Buffers are whole vectors of four, so that a kernel may read them as such to their end. */
export const BUFFER_BYTES_STEP = 16;

/** Where a device's buffers come from. */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #options: BufferPoolOptions;
  readonly #all = new Set<Pooled>();
  /** Not in use, the longest unused first. */
  readonly #spare = new Set<Pooled>();
  readonly #sparePerSize = new Map<string, Pooled[]>();
  readonly #failed = new WeakSet<Pooled>();
  readonly #unsure = new Set<Promise<void>>();
  #bytes = 0;
  #spareBytes = 0;
  #lastId = 0;
  /** Asked to give back what can be done without, before memory is refused. */
  onShortage: (() => void) | undefined;

  constructor(device: GPUDevice, options: BufferPoolOptions) {
    this.#device = device;
    this.#options = options;
  }

  /** Bytes of all buffers, those that nobody uses included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that one buffer holds at most. */
  get bufferBytesMax(): number {
    return this.#options.bufferBytesMax;
  }

  /** Bytes of buffers that nobody uses. */
  get spareBytes(): number {
    return this.#spareBytes;
  }

  /**
   * A buffer of at least so many bytes, with contents left over from another use.
   *
   * @throws {RangeError} if that is more than the memory, or the adapter, allows.
   */
  take(bytes: number, kind: BufferKind): PooledBuffer {
    const size = Math.ceil(bytes / BUFFER_BYTES_STEP) * BUFFER_BYTES_STEP;
    const { bufferBytesMax } = this.#options;
    if (size > bufferBytesMax) throw this.#refusal(size, `one buffer holds at most ${bufferBytesMax}`);
    return this.#take(size, kind, (id) => {
      const gpu = this.#device.createBuffer({ size, usage: USAGE[kind] });
      return { gpu, kind, bytes: size, id };
    });
  }

  /**
   * An image of at least so many texels, with contents left over from another use.
   *
   * @throws {RangeError} if that is more than the memory allows.
   */
  takeImage(texels: number): PooledImage {
    const height = Math.ceil(texels / IMAGE_WIDTH);
    return this.#take(height * ROW_BYTES, "image", (id) => {
      const size = { width: IMAGE_WIDTH, height };
      const gpu = this.#device.createTexture({ size, format: "rgba32float", usage: IMAGE_USAGE });
      return { gpu, view: gpu.createView(), kind: "image", bytes: height * ROW_BYTES, id };
    });
  }

  /** What `create` makes, or what it made before for another. */
  #take<Kept extends Pooled>(size: number, kind: Kept["kind"], create: (id: number) => Kept): Kept {
    const { memoryMax } = this.#options;
    const spare = this.#takeSpare(size, kind);
    if (spare) return spare as Kept; // of this kind
    if (this.#bytes - this.#spareBytes + size > memoryMax && this.onShortage) {
      this.onShortage();
      const reserve = this.#takeSpare(size, kind);
      if (reserve) return reserve as Kept;
    }
    while (this.#bytes + size > memoryMax && this.#spare.size > 0) this.#destroyOldestSpare();
    if (this.#bytes + size > memoryMax) {
      throw this.#refusal(size, `${this.#bytes} of ${memoryMax} are in use`);
    }
    return this.#create(create);
  }

  /** Takes memory back, for the next of its size. */
  give(buffer: Pooled): void {
    if (!this.#all.has(buffer)) return; // cleared meanwhile
    if (this.#failed.has(buffer)) return this.destroy(buffer);
    const key = sizeKey(buffer.kind, buffer.bytes);
    const spare = this.#sparePerSize.get(key) ?? [];
    spare.push(buffer);
    this.#sparePerSize.set(key, spare);
    this.#spare.add(buffer);
    this.#spareBytes += buffer.bytes;
    while (this.#spareBytes > this.#options.spareBytesMax) this.#destroyOldestSpare();
  }

  /** Ends memory that is in use. The GPU finishes what it was given before. */
  destroy(buffer: Pooled): void {
    if (!this.#all.delete(buffer)) return;
    this.#bytes -= buffer.bytes;
    buffer.gpu.destroy();
  }

  /**
   * Whether the GPU had the memory for the buffers made so far, once it has said so.
   *
   * @returns `undefined` if it has.
   */
  settled(): Promise<void> | undefined {
    return this.#unsure.size === 0 ? undefined : Promise.all(this.#unsure).then(() => {});
  }

  /** @throws {RangeError} if the GPU had no memory for one of these buffers. */
  mustExist(buffers: Iterable<Pooled>): void {
    for (const buffer of buffers) {
      if (this.#failed.has(buffer)) throw this.#refusal(buffer.bytes, "the GPU is out of memory");
    }
  }

  /** Ends every buffer. */
  clear(): void {
    for (const { gpu } of this.#all) gpu.destroy();
    this.#all.clear();
    this.#spare.clear();
    this.#sparePerSize.clear();
    this.#bytes = 0;
    this.#spareBytes = 0;
  }

  #takeSpare(size: number, kind: Pooled["kind"]): Pooled | undefined {
    const spare = this.#sparePerSize.get(sizeKey(kind, size))?.pop();
    if (!spare) return undefined;
    this.#spare.delete(spare);
    this.#spareBytes -= size;
    return spare;
  }

  #create<Kept extends Pooled>(create: (id: number) => Kept): Kept {
    this.#device.pushErrorScope("out-of-memory");
    const buffer = create(++this.#lastId);
    const scope = this.#device.popErrorScope();
    this.#all.add(buffer);
    this.#bytes += buffer.bytes;
    const answer = scope.then(
      (error) => void (error && this.#failed.add(buffer)),
      () => void this.#failed.add(buffer), // the device is gone
    ).finally(() => this.#unsure.delete(answer));
    this.#unsure.add(answer);
    return buffer;
  }

  #destroyOldestSpare(): void {
    const [buffer] = this.#spare;
    this.#spare.delete(buffer);
    this.#spareBytes -= buffer.bytes;
    this.#sparePerSize.get(sizeKey(buffer.kind, buffer.bytes))!.shift();
    this.destroy(buffer);
  }

  #refusal(bytes: number, why: string): RangeError {
    return new RangeError(`Cannot allocate ${bytes} bytes on ${this.#options.device}: ${why}`);
  }
}

function sizeKey(kind: Pooled["kind"], bytes: number): string {
  return `${kind} ${bytes}`;
}
