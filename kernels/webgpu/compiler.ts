/**
 * From a graph to plans whose kernels are compiled: one for each set of sizes
 * that its runs meet, of which the latest are kept. It runs nothing.
 */

import { bind, type Bindable, checkRange, type IntegerRange, integerRanges } from "../bind.ts";
import type { Precision } from "../device.ts";
import type { Graph, Value } from "../graph.ts";
import type { BufferPool } from "./buffers.ts";
import { narrowValues, shadowedInputs } from "./narrow.ts";
import { Pipelines } from "./pipelines.ts";
import { planGraph, type Step } from "./plan.ts";
import { ReadyPlan } from "./ready_plan.ts";
import { Recent } from "./recent.ts";
import { ShaderFiles } from "./shader.ts";
import { layoutSizes } from "./sizes.ts";
import type { Held } from "./tensors.ts";
import type { WgslLimits } from "./writer.ts";

/** Kernels kept compiled, for all programs and sizes together. */
const PIPELINES_MAX = 1024;

/**
 * Sets of sizes of one program whose plan is kept. A host of sessions meets as many as there are numbers of
 * texts at once, times lengths of what is past: 16 times 8 are those of texts that differ in length fourfold.
 * Of eight layers a plan takes about half a megabyte, and seven milliseconds to be made anew.
 */
const PLANS_MAX = 128;

/** Compiles graphs for one GPU. */
export class Compiler {
  readonly #gpu: GPUDevice;
  readonly #pool: BufferPool;
  readonly #limits: WgslLimits;
  readonly #files = new ShaderFiles();
  readonly #pipelines: Pipelines;

  constructor(gpu: GPUDevice, pool: BufferPool, limits: WgslLimits) {
    this.#gpu = gpu;
    this.#pool = pool;
    this.#limits = limits;
    this.#pipelines = new Pipelines(gpu, PIPELINES_MAX);
  }

  /** A graph, to be planned when its sizes are known. */
  compile(graph: Graph, precision: Precision): CompiledGraph {
    const halves = precision === "f16" && this.#limits.f16;
    const narrow = halves ? narrowValues(graph) : undefined;
    const shadowed = halves ? shadowedInputs(graph) : undefined;
    const forget = ({ ready: { sizesBuffer } }: BoundPlan) => sizesBuffer && this.#pool.give(sizesBuffer);
    return new CompiledGraph(graph, (given) => this.#plan(graph, given, narrow, shadowed), forget);
  }

  async #plan(
    graph: Graph,
    given: readonly Held[],
    narrow: ReadonlySet<Value> | undefined,
    shadowed: ReadonlySet<Value> | undefined,
  ): Promise<BoundPlan> {
    const shapes = bind(graph, new Map(graph.inputs.map((value, index) => [value, bindable(given[index])])));
    const inputs = given.map(({ storage }) => storage);
    const plan = planGraph(graph, { shapes, inputs, narrow, shadowed, limits: this.#limits });
    const steps = [...plan.casts.values(), ...plan.steps];
    await this.#files.load(steps.flatMap(({ dispatch }) => dispatch.source));
    const pipelines = new Map(
      await Promise.all(steps.map(async (step) => {
        const text = this.#files.textOf(step.dispatch);
        return [step, await this.#pipelines.compile(`Cannot compile ${step.op}`, text)] as const;
      })),
    );
    const sizes = layoutSizes(steps);
    const { words } = sizes;
    const sizesBuffer = words.length > 0 ? this.#pool.take(words.byteLength, "uniform") : undefined;
    if (sizesBuffer) this.#gpu.queue.writeBuffer(sizesBuffer.gpu, 0, words);
    const pipelineOf = (step: Step) => pipelines.get(step)!;
    return {
      ready: new ReadyPlan({ device: this.#gpu, plan, pipelineOf, sizes, sizesBuffer }),
      ranges: integerRanges(graph, shapes),
    };
  }
}

/** A plan, and what its integers must be. */
interface BoundPlan {
  readonly ready: ReadyPlan;
  readonly ranges: readonly IntegerRange[];
}

/** A graph with its plans. */
export class CompiledGraph {
  readonly graph: Graph;
  readonly #plan: (given: readonly Held[]) => Promise<BoundPlan>;
  /** By what distinguishes them: types, storages and sizes of their inputs. */
  readonly #plans: Recent<BoundPlan>;

  constructor(
    graph: Graph,
    plan: (given: readonly Held[]) => Promise<BoundPlan>,
    forget: (plan: BoundPlan) => void,
  ) {
    this.graph = graph;
    this.#plan = plan;
    this.#plans = new Recent(PLANS_MAX, forget);
  }

  /** Forgets all plans. */
  dispose(): void {
    this.#plans.clear();
  }

  /**
   * The plan for these inputs, at once if there has been one of their sizes lately.
   *
   * @throws {TypeError} if the inputs do not fit the graph, or each other.
   */
  planFor(given: readonly Held[]): ReadyPlan | Promise<ReadyPlan> {
    const key = given.map(({ dataType, storage, shape }) => `${dataType} ${storage} ${shape}`).join(";");
    const known = this.#plans.get(key);
    if (!known) return this.#planAnew(given, key);
    for (const { value, ...range } of known.ranges) {
      checkRange(value, { data: given[this.graph.inputs.indexOf(value)].integers! }, range);
    }
    return known.ready;
  }

  async #planAnew(given: readonly Held[], key: string): Promise<ReadyPlan> {
    const bound = await this.#plan(given);
    this.#plans.set(key, bound);
    return bound.ready;
  }
}

function bindable({ dataType, shape, integers }: Held): Bindable {
  return { dataType, shape, data: integers ?? NO_FLOATS };
}

/** Binding reads no floats. */
const NO_FLOATS = new Float32Array(0);
