/**
 * Kernels, compiled once for each text. It keeps a bounded number, and forgets
 * the one that was asked for longest ago.
 */

import { Recent } from "./recent.ts";

/** Where a device's compiled kernels are kept. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #compiled: Recent<Promise<GPUComputePipeline>>;

  /** @param count kept at most. */
  constructor(device: GPUDevice, count: number) {
    this.#device = device;
    this.#compiled = new Recent(count);
  }

  /**
   * The kernel with this text.
   *
   * @param subject begins the message, as in `Cannot compile linear`.
   * @throws {Error} if WebGPU refuses the text.
   */
  compile(subject: string, text: string): Promise<GPUComputePipeline> {
    let pipeline = this.#compiled.get(text);
    if (!pipeline) {
      pipeline = this.#compile(subject, text);
      this.#compiled.set(text, pipeline);
      pipeline.catch(() => this.#compiled.delete(text));
    }
    return pipeline;
  }

  async #compile(subject: string, text: string): Promise<GPUComputePipeline> {
    const device = this.#device;
    device.pushErrorScope("internal");
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code: text });
    // Not the asynchronous way: Dawn's binding asks in a loop whether it is done, and on a machine whose
    // cores are all taken it asks so often that minutes pass.
    const pipeline = device.createComputePipeline({
      layout: this.#layoutOf(text),
      compute: { module, entryPoint: "main" },
    });
    const errors = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    const error = errors.find((error) => error !== null);
    if (error) throw new Error(`${subject}: ${error.message}`);
    return pipeline;
  }

  /** What a kernel declares, whether it uses it or not: which WebGPU's own layouts depend on. */
  #layoutOf(text: string): GPUPipelineLayout {
    const storage = [...text.matchAll(STORAGE_BINDING)].map(([_all, binding, access]) => ({
      binding: Number(binding),
      type: access === "read" ? "read-only-storage" as const : "storage" as const,
    }));
    const uniform = [...text.matchAll(UNIFORM_BINDING)].map(([_all, binding]) => ({
      binding: Number(binding),
      type: "uniform" as const,
    }));
    const layouts = uniform.length > 0 ? [storage, uniform] : [storage];
    return this.#device.createPipelineLayout({
      bindGroupLayouts: layouts.map((entries) =>
        this.#device.createBindGroupLayout({
          entries: entries.map(({ binding, type }) => ({ binding, visibility: COMPUTE, buffer: { type } })),
        })
      ),
    });
  }
}

const STORAGE_BINDING = /@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>/g;
const UNIFORM_BINDING = /@group\(1\)\s*@binding\((\d+)\)\s*var<uniform>/g;

/** `GPUShaderStage.COMPUTE` */
const COMPUTE = 4;
