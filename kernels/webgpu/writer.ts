/**
 * How a row of the table of ops spells itself for WebGPU: which WGSL runs, on
 * which tensors, in how many workgroups. Sizes are known by then: a plan is
 * made for each set of sizes that a program meets, and kept. A row sees no
 * buffer and no queue.
 */

/** How the elements of a tensor lie in the device's memory. */
export type Storage = "f32" | "f16" | "i32";

/** The greatest number of 16 bits. What is beyond it is stored as it. */
export const HALF_MAX = 65_504;

/** A tensor of a plan: an input or output of the op, or scratch space. */
export interface WgslTensor {
  /** Of its elements. Interior values are `f16` where the run asks for it and the adapter can. */
  readonly storage: Storage;
  /** Sizes, the slowest dimension first. */
  readonly shape: readonly number[];
}

/**
 * Scratch space of vectors of four `f32`, which one kernel stores and others load as a texture: adapters that
 * are the processor itself load from those many times as fast as from a buffer. Texel i lies at
 * `(i % IMAGE_WIDTH, i / IMAGE_WIDTH)`.
 */
export interface WgslImage {
  /** At most `IMAGE_WIDTH` squared. */
  readonly texels: number;
}

/** Texels in a row of an image: as many as every adapter allows, and as there may be rows. */
export const IMAGE_WIDTH = 8192;

/** What the adapter can do, as far as a plan depends on it. */
export interface WgslLimits {
  /** Whether `enable f16;` is allowed. */
  readonly f16: boolean;
  /** Bytes of `var<workgroup>` in one workgroup; at least 16,384. */
  readonly workgroupStorageBytes: number;
  /** Invocations in one workgroup; at least 256. */
  readonly workgroupInvocations: number;
  /** Workgroups in one dimension of a dispatch; at least 65,535. */
  readonly workgroupsPerDimension: number;
  /** Whether the adapter is the processor itself, which asks for other kernels than a GPU. */
  readonly software: boolean;
}

/** One kernel, run once. */
export interface Dispatch {
  /**
   * WGSL files, put one behind the other; the last one holds `fn main`. Before
   * them the device writes `enable f16;` if a type needs it, then `types` as
   * `alias`es and `constants` as `const`s: whole numbers as `u32`, others as
   * `f32`, true and false as `bool`.
   */
  readonly source: readonly URL[];
  /**
   * Whole numbers that differ from one micro-batch's size to the next. The files name them as they name
   * `constants`, but not where WGSL asks for a constant (the length of an array, say); in return one
   * compiled kernel serves all of their values. In a file each stands for itself wherever it is a word.
   */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Sizes and numbers that this dispatch is specialised by: a kernel is compiled for each set of values. */
  readonly constants?: Readonly<Record<string, number | boolean>>;
  /** Numbers that stay `f32` even when they are whole. */
  readonly floats?: Readonly<Record<string, number>>;
  /** Unsigned numbers of 32 bits that the files look up: each becomes a constant array. */
  readonly tables?: Readonly<Record<string, Uint32Array>>;
  /**
   * Element types by the names that the files give them, as in `{ X: x.storage }`. A file loads `f32(x[i])` and
   * stores `X(value)` or `vec4<X>(value)`, where `value` is of `f32`.
   */
  readonly types?: Readonly<Record<string, Storage>>;
  /**
   * What `@group(0) @binding(0)`, `(1)`, … are, in their order. A file declares those that it only reads
   * as `var<storage, read>` and the others as `var<storage, read_write>`; none appears twice.
   */
  readonly bindings: readonly WgslTensor[];
  /**
   * What `@group(2) @binding(0)`, `(1)`, … are, in their order: a file declares one that it loads as `texture_2d<f32>`, and one that it stores
   * as `texture_storage_2d<rgba32float, write>`.
   */
  readonly images?: readonly WgslImage[];
  /** Workgroups in x, y and z, each 1 to `workgroupsPerDimension`. */
  readonly workgroups: readonly [number, number, number];
}

/** Where a row writes its plan. Dispatches run in order, each after the last one's writes. */
export interface WgslWriter {
  readonly limits: WgslLimits;
  /** Adds a kernel. */
  dispatch(dispatch: Dispatch): void;
  /** A tensor that lives until this op's last dispatch. Its contents are left over from another one. */
  scratch(storage: Storage, shape: readonly number[]): WgslTensor;
  /** An image that lives as long. */
  image(texels: number): WgslImage;
}
