/**
 * The kernel that copies rows from one tensor into another, whatever their
 * storages. It allocates nothing and submits nothing.
 */

import type { PooledBuffer } from "./buffers.ts";
import { Pipelines } from "./pipelines.ts";
import { Recent } from "./recent.ts";
import { ShaderFiles } from "./shader.ts";
import { workgroupsOf } from "./workgroups.ts";
import type { Storage, WgslLimits } from "./writer.ts";

const FILE = new URL("./copy_rows.wgsl", import.meta.url);

/** Kernels kept compiled. A stage's rows have one width, seldom two. */
const KERNELS_MAX = 16;

/** Elements of one workgroup: `@workgroup_size` of the file. */
const GROUP = 256;

/** A copy of rows, on buffers. */
export interface RowCopy {
  readonly source: PooledBuffer;
  readonly destination: PooledBuffer;
  /** One place in `destination` for each row copied, as `i32`. */
  readonly rows: PooledBuffer;
  readonly count: number;
  /** Elements of a row. */
  readonly width: number;
}

/** Copies rows on one GPU. */
export class RowCopier {
  readonly #gpu: GPUDevice;
  readonly #limits: WgslLimits;
  readonly #files = new ShaderFiles();
  readonly #pipelines: Pipelines;
  readonly #kernels = new Recent<GPUComputePipeline>(KERNELS_MAX);

  constructor(gpu: GPUDevice, limits: WgslLimits) {
    this.#gpu = gpu;
    this.#limits = limits;
    this.#pipelines = new Pipelines(gpu, KERNELS_MAX);
  }

  /** What copies between these storages, at once if there has been such a copy lately. */
  kernelFor(
    source: Storage,
    destination: Storage,
    width: number,
  ): GPUComputePipeline | Promise<GPUComputePipeline> {
    const key = `${source} ${destination} ${width}`;
    const known = this.#kernels.get(key);
    if (known) return known;
    return this.#compile({ Source: source, Destination: destination }, width).then((kernel) => {
      this.#kernels.set(key, kernel);
      return kernel;
    });
  }

  /** Writes a copy down. */
  encode(encoder: GPUCommandEncoder, kernel: GPUComputePipeline, copy: RowCopy): void {
    const { source, rows, destination, count, width } = copy;
    const pass = encoder.beginComputePass();
    pass.setPipeline(kernel);
    pass.setBindGroup(
      0,
      this.#gpu.createBindGroup({
        layout: kernel.getBindGroupLayout(0),
        entries: [
          { binding: 0, resource: { buffer: source.gpu } },
          // To its end: the kernel sees by it how many there are.
          { binding: 1, resource: { buffer: rows.gpu, size: count * Int32Array.BYTES_PER_ELEMENT } },
          { binding: 2, resource: { buffer: destination.gpu } },
        ],
      }),
    );
    pass.dispatchWorkgroups(...workgroupsOf(this.#limits, Math.ceil(count * width / GROUP)));
    pass.end();
  }

  async #compile(types: Readonly<Record<string, Storage>>, width: number): Promise<GPUComputePipeline> {
    await this.#files.load([FILE]);
    const text = this.#files.textOf({ source: [FILE], types, constants: { WIDTH: width } });
    return await this.#pipelines.compile("Cannot compile copyRows", text);
  }
}
