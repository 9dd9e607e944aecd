/**
 * A plan whose kernels are compiled, to be put on buffers. It allocates nothing
 * and submits nothing.
 */

import type { PooledBuffer } from "./buffers.ts";
import type { Place, Plan } from "./plan.ts";
import { Recent } from "./recent.ts";

/** Sets of buffers per step whose binding is kept. Buffers take turns, so a few cover most runs. */
const BINDINGS_KEPT = 8;

/** Buffer that lies at a place in a run. */
export type BufferAt = (place: Place) => PooledBuffer;

/** A plan with its kernels. */
export class ReadyPlan {
  readonly plan: Plan;
  readonly #device: GPUDevice;
  readonly #steps: readonly ReadyStep[];

  /** @param pipelines one for each step of the plan. */
  constructor(device: GPUDevice, plan: Plan, pipelines: readonly GPUComputePipeline[]) {
    this.plan = plan;
    this.#device = device;
    this.#steps = plan.steps.map(({ dispatch: { workgroups }, places, bytes }, index) => ({
      pipeline: pipelines[index],
      layout: pipelines[index].getBindGroupLayout(0),
      workgroups,
      places,
      bytes,
      bindings: new Recent(BINDINGS_KEPT),
    }));
  }

  /** Writes every step down, in order. */
  encode(pass: GPUComputePassEncoder, at: BufferAt): void {
    for (const step of this.#steps) {
      pass.setPipeline(step.pipeline);
      pass.setBindGroup(0, this.#bind(step, at));
      pass.dispatchWorkgroups(...step.workgroups);
    }
  }

  #bind({ places, bytes, layout, bindings }: ReadyStep, at: BufferAt): GPUBindGroup {
    const buffers = places.map(at);
    const key = buffers.map(({ id }) => id).join();
    let group = bindings.get(key);
    if (!group) {
      group = this.#device.createBindGroup({
        layout,
        entries: buffers.map(({ gpu }, binding) => ({
          binding,
          resource: { buffer: gpu, size: bytes[binding] },
        })),
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
  readonly bindings: Recent<GPUBindGroup>;
}
