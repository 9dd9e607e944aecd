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
      const own = sizes.places.get(step);
      const bindingsOf = (group: number): Bindings => ({
        layout: pipeline.getBindGroupLayout(group),
        groups: new Recent(BINDINGS_KEPT),
      });
      return {
        step,
        pipeline,
        buffers: bindingsOf(0),
        sizes: own && device.createBindGroup({
          layout: pipeline.getBindGroupLayout(1),
          entries: [{ binding: 0, resource: { buffer: sizesBuffer!.gpu, ...own } }],
        }),
        images: step.images.length > 0 ? bindingsOf(2) : undefined,
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

  #encode(
    pass: GPUComputePassEncoder,
    { step, pipeline, buffers, sizes, images }: ReadyStep,
    ground: Ground,
  ) {
    pass.setPipeline(pipeline);
    const resourceOf = ({ gpu }: PooledBuffer, index: number) => ({ buffer: gpu, size: step.bytes[index] });
    pass.setBindGroup(0, this.#bind(buffers, step.places.map(ground.at), resourceOf));
    if (sizes) pass.setBindGroup(1, sizes);
    if (images) {
      const bound = step.images.map((index) => ground.images[index]);
      pass.setBindGroup(2, this.#bind(images, bound, ({ view }) => view));
    }
    pass.dispatchWorkgroups(...step.dispatch.workgroups);
  }

  #bind<Kept extends { readonly id: number }>(
    { layout, groups }: Bindings,
    bound: readonly Kept[],
    resourceOf: (kept: Kept, index: number) => GPUBindingResource,
  ): GPUBindGroup {
    const key = bound.map(({ id }) => id).join();
    let group = groups.get(key);
    if (!group) {
      const entries = bound.map((kept, binding) => ({ binding, resource: resourceOf(kept, binding) }));
      group = this.#device.createBindGroup({ layout, entries });
      groups.set(key, group);
    }
    return group;
  }
}

interface ReadyStep {
  readonly step: Step;
  readonly pipeline: GPUComputePipeline;
  readonly buffers: Bindings;
  readonly sizes: GPUBindGroup | undefined;
  readonly images: Bindings | undefined;
}

/** What one group of a step was bound to lately. */
interface Bindings {
  readonly layout: GPUBindGroupLayout;
  readonly groups: Recent<GPUBindGroup>;
}
