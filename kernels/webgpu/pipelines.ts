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
    const groups: GPUBindGroupLayoutEntry[][] = [];
    for (const [_all, group, binding, declared] of text.matchAll(BINDING)) {
      const entry = { binding: Number(binding), visibility: COMPUTE, ...KINDS[declared.replaceAll(" ", "")] };
      (groups[Number(group)] ??= []).push(entry);
    }
    return this.#device.createPipelineLayout({
      // A group that is left out has no bindings.
      bindGroupLayouts: Array.from(groups, (entries = []) => this.#device.createBindGroupLayout({ entries })),
    });
  }
}

const BINDING = /@group\((\d)\)\s*@binding\((\d+)\)\s*var(?:\s+\w+:\s*)?(<[^>]*>|texture_\w+<[^>]*>)/g;

/** What WebGPU calls that which a kernel declares. */
const KINDS: Readonly<Record<string, Omit<GPUBindGroupLayoutEntry, "binding" | "visibility">>> = {
  "<storage,read>": { buffer: { type: "read-only-storage" } },
  "<storage,read_write>": { buffer: { type: "storage" } },
  "<uniform>": { buffer: { type: "uniform" } },
  "texture_2d<f32>": { texture: { sampleType: "unfilterable-float" } },
  "texture_storage_2d<rgba32float,write>": {
    storageTexture: { access: "write-only", format: "rgba32float" },
  },
};

/** `GPUShaderStage.COMPUTE` */
const COMPUTE = 4;
