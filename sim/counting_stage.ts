/**
 * A stage of almost no cost whose mathematics proves what the swarm promises: the
 * gradient of micro-batch m is one at place m and zero elsewhere, so a sum of
 * gradients says how often each micro-batch was counted, and the state holds a
 * running check over every sum that was ever applied. It judges nothing: whoever
 * watches is told what was applied, and by what state work was done.
 */

import { createHash } from "node:crypto";
import type { HostTensor } from "../kernels/mod.ts";
import { type Manifest, partition } from "../run/mod.ts";
import {
  BadState,
  checkState,
  type ForwardResult,
  type Stage,
  type StageLayout,
  stageLayout,
  stateBytes,
  StateHasher,
  stateHeader,
  type StateManifest,
  type StepUpdate,
} from "../stages/mod.ts";
import { countingLoss, nameParts, TOKENS_PER_MICRO_BATCH } from "./counting_run.ts";
import { CountingSessions, type CountingSessionsOptions } from "./counting_sessions.ts";

/** A step that a stage has taken. */
export interface AppliedSum {
  readonly stage: number;
  /** Steps that the state had taken before. */
  readonly step: number;
  /** How often each micro-batch of the step is in the sum. */
  readonly counts: Float32Array;
  /** Number of the data of each micro-batch, as often as that is in the sum. */
  readonly corpora: Float32Array;
  /** How many micro-batches of other steps are in it. */
  readonly strays: number;
  /** What stands for the new state's bits. */
  readonly check: number;
}

/** A micro-batch that was added to a gradient sum. */
export interface Counted {
  readonly stage: number;
  readonly step: number;
  readonly microBatch: number;
  /** What stands for the bits of the state that computed it. */
  readonly check: number;
}

/** Told what happens in a stage, at once. */
export interface StageWatcher {
  applied?(sum: AppliedSum): void;
  counted?(counted: Counted): void;
  /** The stage is let go of. */
  closed?(): void;
}

/** What a counting stage is made of. */
export interface CountingStageOptions {
  /** Of a counting run, see `countingManifest`. */
  readonly manifest: Manifest;
  readonly index: number;
  readonly watcher?: StageWatcher;
  /** Of its sessions. */
  readonly sessions?: Pick<CountingSessionsOptions, "capacityTokens" | "onRun">;
}

interface Kept {
  readonly step: number;
  readonly microBatch: number;
  readonly corpus: number;
}

/** Numbers of an activation or gradient: step, micro-batch, the stage that it leaves, and whose data it is. */
const HIDDEN_SHAPE = [1, TOKENS_PER_MICRO_BATCH, 2];

/** One slice of a counting run. */
export class CountingStage implements Stage {
  readonly index: number;
  readonly count: number;
  readonly parameters: number;
  readonly sessions: CountingSessions;
  readonly #layout: StageLayout;
  readonly #microBatches: number;
  readonly #watcher: StageWatcher;
  readonly #kept = new Map<string, Kept>();
  /**
   * A place for each micro-batch, one for strays, one whose rounding depends on the order of the
   * sum: two sums of the same micro-batches differ there, as they do in a model; and a place for
   * each micro-batch's data.
   */
  #sum: Float32Array;
  #step = 0;
  #check = 0;

  constructor({ manifest, index, watcher, sessions }: CountingStageOptions) {
    const slice = partition(manifest)[index];
    const { vocabulary, width } = manifest.model;
    this.index = index;
    this.count = slice.count;
    this.sessions = new CountingSessions({ index, count: slice.count, vocabulary, width, ...sessions });
    this.#layout = layoutOf(manifest, index);
    this.parameters = this.#layout.size;
    this.#microBatches = manifest.microBatchesPerStep;
    this.#watcher = watcher ?? {};
    this.#sum = new Float32Array(2 * this.#microBatches + 2);
  }

  get step(): number {
    return this.#step;
  }

  /** What stands for the bits of the state: 32 bits that depend on every sum that was applied. */
  get check(): number {
    return this.#check;
  }

  get kept(): number {
    return this.#kept.size;
  }

  forward(
    key: string,
    input: HostTensor,
    targets: HostTensor | undefined,
    { keep }: { readonly keep: boolean },
  ): Promise<ForwardResult> {
    return promised(() => {
      const named = this.index === 0 ? nameIn(input) : hiddenFrom(input, this.index - 1);
      if (keep) this.#kept.set(key, named);
      if (this.index + 1 < this.count) {
        return { kind: "activation", activation: hidden(named, this.index) };
      }
      if (targets === undefined) {
        return { kind: "logits", logits: { dataType: "f32", shape: [1, 1], data: new Float32Array(1) } };
      }
      const target = nameIn(targets);
      if (!isSame(target, named)) {
        throw new TypeError(`Cannot forward ${key}: its targets are of another micro-batch`);
      }
      return { kind: "loss", lossSum: countingLoss(named.microBatch), tokens: TOKENS_PER_MICRO_BATCH };
    });
  }

  backward(
    key: string,
    gradient: HostTensor | undefined,
    { accumulate }: { readonly accumulate: boolean },
  ): Promise<HostTensor | undefined> {
    return promised(() => {
      const kept = this.#kept.get(key);
      if (kept === undefined) throw new TypeError(`Cannot take ${key} back: nothing is kept under it`);
      if ((gradient === undefined) !== (this.index + 1 === this.count)) {
        throw new TypeError(
          `Cannot take ${key} back: gradient ${gradient === undefined ? "missing" : "given"}`,
        );
      }
      if (gradient !== undefined) {
        const back = hiddenFrom(gradient, this.index + 1);
        if (!isSame(back, kept)) {
          throw new TypeError(`Cannot take ${key} back: the gradient is of another micro-batch`);
        }
      }
      this.#kept.delete(key);
      if (accumulate) this.#count(kept);
      return this.index === 0 ? undefined : hidden(kept, this.index);
    });
  }

  release(key: string): void {
    this.#kept.delete(key);
  }

  gradientSum(): Promise<Float32Array> {
    return Promise.resolve(this.#sum.slice());
  }

  clearGradients(): Promise<void> {
    this.#sum.fill(0);
    return Promise.resolve();
  }

  apply({ gradientSum, scale, learningRate }: StepUpdate): Promise<void> {
    const counts = gradientSum.subarray(0, this.#microBatches);
    this.#check = mixed(this.#check, gradientSum, scale, learningRate);
    const step = this.#step++;
    this.#sum.fill(0);
    this.#watcher.applied?.({
      stage: this.index,
      step,
      counts,
      corpora: gradientSum.subarray(this.#microBatches + 2),
      strays: gradientSum[this.#microBatches],
      check: this.#check,
    });
    return Promise.resolve();
  }

  exportState(): Promise<{ readonly manifest: StateManifest; readonly bytes: Uint8Array }> {
    const bytes = new Uint8Array(stateBytes(this.#layout));
    const header = stateHeader(this.#step);
    bytes.set(header);
    // Two numbers that f32 holds exactly.
    const values = new DataView(bytes.buffer, header.length);
    values.setFloat32(0, this.#check >>> 16, true);
    values.setFloat32(4, this.#check & 0xffff, true);
    const hasher = new StateHasher(this.#layout, this.#step);
    hasher.update(bytes);
    return Promise.resolve({ manifest: hasher.finish(), bytes });
  }

  importState(manifest: StateManifest, bytes: Uint8Array): Promise<void> {
    return promised(() => {
      checkState(this.#layout, manifest, bytes);
      const values = new DataView(bytes.buffer, bytes.byteOffset + stateHeader(0).length);
      const [high, low] = [values.getFloat32(0, true), values.getFloat32(4, true)];
      for (const half of [high, low]) {
        if (!Number.isInteger(half) || half < 0 || half > 0xffff) {
          throw new BadState(`Cannot accept state of step ${manifest.step}: half of its check is ${half}`);
        }
      }
      this.#step = manifest.step;
      this.#check = ((high << 16) | low) >>> 0;
      this.#kept.clear();
      this.sessions.clear();
      this.#sum.fill(0);
    });
  }

  async describeState(): Promise<StateManifest> {
    return (await this.exportState()).manifest;
  }

  close(): Promise<void> {
    this.#kept.clear();
    this.sessions.clear();
    this.#watcher.closed?.();
    return Promise.resolve();
  }

  #count({ step, microBatch, corpus }: Kept): void {
    const known = step === this.#step && microBatch < this.#microBatches;
    this.#sum[known ? microBatch : this.#microBatches]++;
    if (known) this.#sum[this.#microBatches + 2 + microBatch] += corpus;
    this.#sum[this.#microBatches + 1] += Math.sin(microBatch + 1);
    this.#watcher.counted?.({ stage: this.index, step, microBatch, check: this.#check });
  }
}

/** Layouts are many hosts' and never change. */
const layouts = new WeakMap<Manifest, Map<number, StageLayout>>();

function layoutOf(manifest: Manifest, index: number): StageLayout {
  const known = layouts.get(manifest) ?? new Map<number, StageLayout>();
  layouts.set(manifest, known);
  const layout = known.get(index) ?? stageLayout(manifest.model, partition(manifest)[index]);
  known.set(index, layout);
  return layout;
}

function isSame(one: Kept, other: Kept): boolean {
  return one.step === other.step && one.microBatch === other.microBatch && one.corpus === other.corpus;
}

function hidden({ step, microBatch, corpus }: Kept, stage: number): HostTensor {
  return { dataType: "f32", shape: HIDDEN_SHAPE, data: Float32Array.of(step, microBatch, stage, corpus) };
}

function nameIn({ dataType, data }: HostTensor): Kept {
  if (dataType !== "i32" || data.length < TOKENS_PER_MICRO_BATCH) {
    throw new TypeError(`Cannot read a name: found ${data.length} numbers of ${dataType}`);
  }
  const { microBatch, corpus } = nameParts(data[1]);
  return kept(data[0], microBatch, corpus);
}

function hiddenFrom({ dataType, data }: HostTensor, stage: number): Kept {
  if (dataType !== "f32" || data.length !== 2 * TOKENS_PER_MICRO_BATCH || data[2] !== stage) {
    throw new TypeError(`Cannot read hidden states: they are not those of stage ${stage}`);
  }
  const [step, microBatch, , corpus] = data;
  return kept(step, microBatch, corpus);
}

function kept(step: number, microBatch: number, corpus: number): Kept {
  if (![step, microBatch, corpus].every((number) => Number.isSafeInteger(number) && number >= 0)) {
    throw new TypeError(`Cannot read a name: step ${step}, micro-batch ${microBatch} of data ${corpus}`);
  }
  return { step, microBatch, corpus };
}

/** 32 bits over what came before and what is applied now. */
function mixed(check: number, sum: Float32Array, scale: number, learningRate: number): number {
  const hash = createHash("sha256");
  hash.update(Float64Array.of(check, scale, learningRate));
  hash.update(new Uint8Array(sum.buffer, sum.byteOffset, sum.byteLength));
  return hash.digest().readUInt32LE(0);
}

/** What a throw is to a caller who awaits. */
function promised<Value>(run: () => Value): Promise<Value> {
  try {
    return Promise.resolve(run());
  } catch (error) {
    return Promise.reject(error);
  }
}
