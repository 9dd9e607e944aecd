/**
 * A plan whose kernels are compiled, to be put on buffers. It allocates nothing
 * and submits nothing.
 */

import type { PooledBuffer, PooledImage } from "./buffers.ts";
import type { Place, Plan, Step } from "./plan.ts";
import { Recent } from "./recent.ts";
import type { SizesLayout } from "./sizes.ts";

/** Sets of buffers per step whose binding is kept. Buffers take turns, so a few cover most runs. */
const BINDINGS_KEPT = 4;

/** What a run is put on. */
export interface Ground {
  /** Buffer that lies at a place. */
  at(place: Place): PooledBuffer;
  /** One for each of the plan's images. */
  readonly images: readonly PooledImage[];
}

/** What a plan needs besides its buffers. */
export interface ReadyPlanParts {
  readonly device: GPUDevice;
  readonly plan: Plan;
  /** Each step's compiled kernel. */
  readonly pipelineOf: (step: Step) => GPUComputePipeline;
  /** Where each step finds its sizes. */
  readonly sizes: SizesLayout;
  /** What they lie in; absent if no step has any. */
  readonly sizesBuffer: PooledBuffer | undefined;
}

/** A plan with its kernels. */
export class ReadyPlan {
  readonly plan: Plan;
  /** What the steps' sizes lie in; absent if no step has any. */
  readonly sizesBuffer: PooledBuffer | undefined;
  readonly #device: GPUDevice;
  readonly #casts: ReadonlyMap<number, ReadyStep>;
  readonly #steps: readonly ReadyStep[];

  constructor({ device, plan, pipelineOf, sizes, sizesBuffer }: ReadyPlanParts) {
    this.plan = plan;
    this.sizesBuffer = sizesBuffer;
    this.#device = device;
    const ready = (step: Step): ReadyStep => {
      const pipeline = pipelineOf(step);
      const { dispatch: { workgroups }, places, bytes, images } = step;
      const layout = pipeline.getBindGroupLayout(0);
      const own = sizes.places.get(step);
      const group = own && device.createBindGroup({
        layout: pipeline.getBindGroupLayout(1),
        entries: [{ binding: 0, resource: { buffer: sizesBuffer!.gpu, ...own } }],
      });
      return {
        pipeline,
        layout,
        workgroups,
        places,
        bytes,
        images,
        sizes: group,
        bindings: new Recent(BINDINGS_KEPT),
      };
    };
    this.#steps = plan.steps.map(ready);
    this.#casts = new Map([...plan.casts].map(([input, cast]) => [input, ready(cast)]));
  }

  /** Writes down what fills the shadow of an input. */
  encodeCast(pass: GPUComputePassEncoder, input: number, ground: Ground): void {
    this.#encode(pass, this.#casts.get(input)!, ground);
  }

  /** Writes every step down, in order. */
  encode(pass: GPUComputePassEncoder, ground: Ground): void {
    for (const step of this.#steps) this.#encode(pass, step, ground);
  }

  #encode(pass: GPUComputePassEncoder, step: ReadyStep, ground: Ground): void {
    pass.setPipeline(step.pipeline);
    pass.setBindGroup(0, this.#bind(step, ground));
    if (step.sizes) pass.setBindGroup(1, step.sizes);
    pass.dispatchWorkgroups(...step.workgroups);
  }

  #bind({ places, bytes, images, layout, bindings }: ReadyStep, ground: Ground): GPUBindGroup {
    const buffers = places.map(ground.at);
    const views = images.map((index) => ground.images[index]);
    const key = [...buffers, ...views].map(({ id }) => id).join();
    let group = bindings.get(key);
    if (!group) {
      group = this.#device.createBindGroup({
        layout,
        entries: [
          ...buffers.map(({ gpu }, index) => ({ buffer: gpu, size: bytes[index] })),
          ...views.map(({ view }) => view),
        ].map((resource, binding) => ({ binding, resource })),
      });
      bindings.set(key, group);
    }
    return group;
  }
}

interface ReadyStep {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly workgroups: readonly [number, number, number];
  readonly places: readonly Place[];
  readonly bytes: readonly number[];
  readonly images: readonly number[];
  readonly sizes: GPUBindGroup | undefined;
  readonly bindings: Recent<GPUBindGroup>;
}
