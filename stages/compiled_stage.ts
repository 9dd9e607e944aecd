/**
 * A stage on a device: its slice of the model compiled into programs, with
 * parameters, gradient sums and moments living on the device throughout. It
 * knows no peers, no time, and no other stage.
 */

import {
  adamwScalars,
  type CompileOptions,
  type Device,
  type DeviceTensor,
  differentiate,
  type Graph,
  type HostTensor,
  type Program,
  Scope,
} from "../kernels/mod.ts";
import { type Manifest, type Slice, sliceOf } from "../run/mod.ts";
import { checkFinite, checkRange, checkTensor, mustLeaveFinite } from "./checks.ts";
import { CACHE_BYTES, CompiledSessions } from "./compiled_sessions.ts";
import { decoderGraph, Port } from "./decoder.ts";
import { initialValues } from "./initialise.ts";
import { clearGraph, updateGraph } from "./optimizer_graph.ts";
import { type Parameter, type StageLayout, stageLayout } from "./parameters.ts";
import { following, readAhead } from "./read_ahead.ts";
import type { Sessions } from "./sessions.ts";
import type { ForwardResult, Stage, StateManifest, StepUpdate } from "./stage.ts";
import {
  bytesOf,
  checkState,
  SECTIONS,
  stateBytes,
  StateHasher,
  stateHeader,
  stateOffset,
  stateValues,
} from "./state.ts";
import { NOTHING, Turns } from "./turns.ts";

/** Micro-batches that one stage keeps at once: a bound on forgetting to release, far above a good schedule. */
const KEPT_MAX = 4096;

/** What a stage is made of. */
export interface CompiledStageOptions {
  /** Stays the caller's: closing the stage leaves it open. */
  readonly device: Device;
  /** The run. */
  readonly manifest: Manifest;
  /** Which stage of the run, from 0. */
  readonly index: number;
  /** Bytes of keys and values that sessions may keep, taken as they come. Default {@link CACHE_BYTES}. */
  readonly cacheBytes?: number;
}

/** One parameter and what belongs to it. */
interface Held {
  readonly parameter: Parameter;
  readonly tensors: Readonly<Record<typeof SECTIONS[number] | "gradientSum", DeviceTensor>>;
}

/** What backward needs of one micro-batch. */
interface Kept {
  readonly scope: Scope;
  readonly tensors: Readonly<Record<string, DeviceTensor>>;
  /** `[B, T]` */
  readonly shape: readonly [number, number];
}

/** A slice of a model, ready to compute. */
export class CompiledStage implements Stage {
  readonly index: number;
  readonly count: number;
  readonly parameters: number;
  /** Names, shapes and order of the parameters. */
  readonly layout: StageLayout;

  readonly #device: Device;
  readonly #manifest: Manifest;
  readonly #slice: Slice;
  readonly #graphs: SliceGraphs;
  readonly #programs = new Map<string, Program>();
  readonly #held: readonly Held[];
  readonly #inputs: Readonly<Record<string, DeviceTensor>>;
  readonly #gradientSums: Readonly<Record<string, DeviceTensor>>;
  readonly #kept = new Map<string, Kept>();
  readonly #turns = new Turns();
  readonly #sessions: CompiledSessions;

  #step = 0;
  #described: StateManifest | undefined;
  #closed = false;
  /** Why the gradient sum, or the whole state, can't be trusted: work on it was torn off. */
  #tornGradients: string | undefined;
  #tornState: string | undefined;

  /**
   * Compiles a stage and initialises it from the run's seed.
   *
   * @throws {RangeError} if the run has no such stage.
   */
  static async create(options: CompiledStageOptions): Promise<CompiledStage> {
    const stage = new CompiledStage(options);
    try {
      // What every micro-batch needs is compiled now; the rest when it is asked for first.
      await stage.#program("forward", () => stage.#graphs.forward, stage.#rounding);
      await stage.#program("backward", () => stage.#graphs.backward, stage.#rounding);
    } catch (error) {
      await stage.close();
      throw error;
    }
    return stage;
  }

  private constructor({ device, manifest, index, cacheBytes = CACHE_BYTES }: CompiledStageOptions) {
    this.#device = device;
    this.#manifest = manifest;
    this.#slice = sliceOf(manifest, index);
    this.index = index;
    this.count = this.#slice.count;
    this.layout = stageLayout(manifest.model, this.#slice);
    this.parameters = this.layout.size;
    this.#graphs = sliceGraphs(manifest, this.#slice, this.layout);

    const zeros = ({ shape, size }: Parameter) =>
      device.upload({ dataType: "f32", shape, data: new Float32Array(size) });
    this.#held = this.layout.parameters.map((parameter) => ({
      parameter,
      tensors: {
        parameter: device.upload({
          dataType: "f32",
          shape: parameter.shape,
          data: initialValues(parameter, manifest.seed, manifest.model.layers),
        }),
        m: zeros(parameter),
        v: zeros(parameter),
        gradientSum: zeros(parameter),
      },
    }));
    this.#inputs = Object.fromEntries(
      this.#held.map(({ parameter, tensors }) => [parameter.name, tensors.parameter]),
    );
    this.#gradientSums = Object.fromEntries(
      this.#held.map(({ parameter, tensors }) => [`${parameter.name}.gradientSum`, tensors.gradientSum]),
    );
    this.#sessions = new CompiledSessions({
      device,
      manifest,
      slice: this.#slice,
      cacheBytes,
      parameters: this.#inputs,
      program: (name, graph) => this.#program(name, graph, this.#rounding),
      turns: this.#turns,
      mustBeWhole: (action) => this.#mustBeWhole(action),
    });
  }

  get sessions(): Sessions {
    return this.#sessions;
  }

  get step(): number {
    return this.#step;
  }

  get kept(): number {
    return this.#kept.size;
  }

  get inFlightMax(): number {
    return this.#device.inFlightMax ?? 1;
  }

  /** See {@link Stage.forward}. The input must not change until the promise settles. */
  forward(
    key: string,
    input: HostTensor,
    targets: HostTensor | undefined,
    { keep }: { readonly keep: boolean },
  ): Promise<ForwardResult> {
    return this.#turns.overlapping(key, async () => {
      const action = `Cannot forward micro-batch ${key}`;
      this.#mustBeWhole(action);
      const shape = this.#checkInput(action, input);
      this.#checkTargets(action, targets, shape);
      if (keep) this.#mustHaveRoom(action, key, targets);

      const scope = new Scope(this.#device);
      let kept: Kept | undefined;
      try {
        const given = this.#upload(scope, input, targets, shape);
        const program = keep
          ? await this.#program("forward", () => this.#graphs.forward, this.#rounding)
          : targets || !this.#slice.head
          ? await this.#program("evaluation", () => this.#graphs.whole, this.#rounding)
          : await this.#program("logits", () => this.#logitsGraph(), this.#rounding);
        const yielded = scope.adoptAll(await program.run({ ...this.#inputs, ...given }));
        const result = this.#downloadResult(action, yielded, targets);
        if (!keep) return { result };
        const saved = Object.entries(yielded).filter(([name]) => this.#graphs.saved.has(name));
        for (const [name, tensor] of Object.entries(yielded)) {
          if (!this.#graphs.saved.has(name)) this.#device.free(scope.release(tensor));
        }
        kept = { scope, shape, tensors: { ...given, ...Object.fromEntries(saved) } };
        this.#kept.set(key, kept);
        return { result, failed: () => this.#drop(key) };
      } finally {
        if (!kept) scope[Symbol.dispose]();
      }
    });
  }

  /** See {@link Stage.backward}. After a refused gradient the micro-batch is still kept. */
  backward(
    key: string,
    gradient: HostTensor | undefined,
    { accumulate }: { readonly accumulate: boolean },
  ): Promise<HostTensor | undefined> {
    return this.#turns.overlapping(key, async () => {
      const action = `Cannot go back through micro-batch ${key}`;
      this.#mustBeWhole(action);
      if (accumulate) this.#mustHaveWholeGradients(action);
      const kept = this.#kept.get(key);
      if (!kept) throw new TypeError(`${action}: nothing is kept of it`);
      this.#checkGradient(action, gradient, kept.shape);
      if (!accumulate && this.#slice.embedding) {
        this.#drop(key);
        return NOTHING;
      }

      const program = accumulate
        ? await this.#program("backward", () => this.#graphs.backward, this.#rounding)
        : await this.#program("inputBackward", () => this.#inputBackwardGraph(), this.#rounding);
      this.#kept.delete(key);
      using scope = kept.scope;
      const upstream = scope.adopt(this.#device.upload(gradient ?? ONE));
      const inputs = {
        ...this.#inputs,
        ...this.#gradientSums,
        ...kept.tensors,
        [`${this.#graphs.output}.gradient`]: upstream,
      };
      const failed = () => {
        if (accumulate) this.#tornGradients = `adding micro-batch ${key} failed`;
      };
      try {
        const yielded = scope.adoptAll(await program.run(inputs));
        if (this.#slice.embedding) return NOTHING;
        const result = this.#device.download(yielded[`${Port.hidden}.gradient`]).then((result) => {
          mustLeaveFinite(`${action}: gradient by the input`, result.data);
          return result;
        });
        return { result, failed };
      } catch (error) {
        failed();
        throw error;
      }
    });
  }

  release(key: string): void {
    // A forward under this key may still wait; releasing keeps its place in the order.
    if (this.#turns.idle && !this.#turns.isArriving(key)) this.#drop(key);
    else {
      void this.#turns.overlapping(key, () => {
        this.#drop(key);
        return Promise.resolve(NOTHING);
      });
    }
  }

  gradientSum(): Promise<Float32Array> {
    return this.#turns.inTurn(async () => {
      const action = "Cannot read gradient sum";
      this.#mustBeWhole(action);
      this.#mustHaveWholeGradients(action);
      const sum = new Float32Array(this.layout.size);
      const contents = readAhead(this.#device, this.#held.map(({ tensors }) => tensors.gradientSum));
      for (const { parameter } of this.#held) {
        const { data } = await following(contents);
        mustLeaveFinite(`${action}: that of ${parameter.name}`, data);
        sum.set(data, parameter.offset);
      }
      return sum;
    });
  }

  clearGradients(): Promise<void> {
    return this.#turns.inTurn(() => this.#clearGradients());
  }

  apply({ gradientSum, scale, learningRate }: StepUpdate): Promise<void> {
    return this.#turns.inTurn(async () => {
      const action = `Cannot apply step ${this.#step + 1}`;
      this.#mustBeWhole(action);
      if (gradientSum.length !== this.layout.size) {
        throw new TypeError(
          `${action}: gradient sum holds ${gradientSum.length} values, expected ${this.layout.size}`,
        );
      }
      checkFinite(action, "gradient sum", gradientSum);
      checkFactor(action, "scale", scale);
      checkFactor(action, "learning rate", learningRate);

      const { beta1, beta2 } = this.#manifest.optimizer;
      const scalars = adamwScalars({ step: this.#step + 1, scale, learningRate, beta1, beta2 });
      using scope = new Scope(this.#device);
      const given = Object.fromEntries(
        Object.entries(scalars).map(([name, scalar]) => [name, scope.adopt(this.#device.upload(scalar))]),
      );
      this.#described = undefined;
      try {
        for (const { parameter, tensors } of this.#held) {
          const program = await this.#updateProgram(parameter);
          const end = parameter.offset + parameter.size;
          this.#device.write(tensors.gradientSum, gradientSum.subarray(parameter.offset, end));
          await program.run({ ...tensors, ...given });
        }
      } catch (error) {
        this.#tornState = `applying step ${this.#step + 1} failed`;
        throw error;
      }
      this.#tornGradients = undefined;
      this.#step += 1;
    });
  }

  exportState(): Promise<{ readonly manifest: StateManifest; readonly bytes: Uint8Array }> {
    return this.#turns.inTurn(async () => {
      const bytes = new Uint8Array(stateBytes(this.layout));
      bytes.set(stateHeader(this.#step));
      await this.#walkState("Cannot export state", (values, offset) => bytes.set(values, offset));
      if (!this.#described) {
        const hasher = new StateHasher(this.layout, this.#step);
        hasher.update(bytes);
        this.#described = hasher.finish();
      }
      return { manifest: this.#described, bytes };
    });
  }

  describeState(): Promise<StateManifest> {
    return this.#turns.inTurn(async () => {
      this.#mustBeWhole("Cannot describe state");
      if (!this.#described) {
        const hasher = new StateHasher(this.layout, this.#step);
        hasher.update(stateHeader(this.#step));
        await this.#walkState("Cannot describe state", (values) => hasher.update(values));
        this.#described = hasher.finish();
      }
      return this.#described;
    });
  }

  importState(manifest: StateManifest, bytes: Uint8Array): Promise<void> {
    return this.#turns.inTurn(async () => {
      this.#mustBeOpen("Cannot import state");
      checkState(this.layout, manifest, bytes);
      for (const key of [...this.#kept.keys()]) this.#drop(key);
      this.#sessions.clear();
      this.#described = undefined;
      // Until the last number stands, the state is neither the old one nor the new one.
      this.#tornState = `importing step ${manifest.step} failed`;
      for (const { parameter, tensors } of this.#held) {
        for (const section of SECTIONS) {
          this.#device.write(tensors[section], stateValues(this.layout, bytes, section, parameter));
        }
      }
      await this.#clearGradients();
      this.#step = manifest.step;
      this.#tornState = undefined;
    });
  }

  /** Frees everything that the stage holds on its device. */
  close(): Promise<void> {
    return this.#turns.inTurn(async () => {
      if (this.#closed) return;
      this.#closed = true;
      for (const key of [...this.#kept.keys()]) this.#drop(key);
      this.#sessions.close();
      for (const { tensors } of this.#held) {
        for (const tensor of Object.values(tensors)) this.#device.free(tensor);
      }
      for (const program of this.#programs.values()) await program.dispose();
      this.#programs.clear();
    });
  }

  /** How micro-batches are computed. Steps are taken in 32 bits always. */
  get #rounding(): CompileOptions {
    return { precision: this.#manifest.precision };
  }

  /** Compiles a program when it is asked for first. */
  async #program(name: string, graph: () => Graph, options?: CompileOptions): Promise<Program> {
    let program = this.#programs.get(name);
    if (!program) {
      program = await this.#device.compile(graph(), options);
      this.#programs.set(name, program);
    }
    return program;
  }

  #updateProgram({ shape, decays }: Parameter): Promise<Program> {
    return this.#program(
      `update:${shape.length}:${decays}`,
      () => updateGraph(shape.length, decays, this.#manifest.optimizer),
    );
  }

  #logitsGraph(): Graph {
    return decoderGraph(this.#manifest.model, this.#slice, Port.logits);
  }

  #inputBackwardGraph(): Graph {
    const { whole, output } = this.#graphs;
    return differentiate(whole, { outputs: [output], withRespectTo: [Port.hidden] }).backward;
  }

  /** @returns `[B, T]` */
  #checkInput(action: string, input: HostTensor): readonly [number, number] {
    const { sequenceLength, sequencesPerMicroBatch, model } = this.#manifest;
    const [sequences, length] = input.shape;
    const fits = [sequences, length].every((size) => Number.isSafeInteger(size) && size > 0) &&
      length <= sequenceLength && sequences * length <= sequencesPerMicroBatch * sequenceLength;
    if (!fits) {
      throw new TypeError(
        `${action}: input is [${input.shape.join(", ")}], allowed are sequences of ` +
          `${sequenceLength} tokens, and ${sequencesPerMicroBatch} such in all`,
      );
    }
    if (this.#slice.embedding) {
      checkTensor(action, "input", input, "i32", [sequences, length]);
      checkRange(action, "token", input.data, 0, model.vocabulary - 1);
    } else {
      checkTensor(action, "input", input, "f32", [sequences, length, model.width]);
      checkFinite(action, "input", input.data);
    }
    return [sequences, length];
  }

  #checkTargets(
    action: string,
    targets: HostTensor | undefined,
    shape: readonly [number, number],
  ): void {
    if (!targets) return;
    if (!this.#slice.head) {
      throw new TypeError(`${action}: targets are given to stage ${this.index} of ${this.count}`);
    }
    checkTensor(action, "targets", targets, "i32", shape);
    checkRange(action, "target", targets.data, -1, this.#manifest.model.vocabulary - 1);
  }

  #checkGradient(
    action: string,
    gradient: HostTensor | undefined,
    shape: readonly [number, number],
  ): void {
    if (this.#slice.head) {
      if (gradient) throw new TypeError(`${action}: the last stage takes no gradient`);
      return;
    }
    if (!gradient) throw new TypeError(`${action}: its gradient is missing`);
    checkTensor(action, "gradient", gradient, "f32", [...shape, this.#manifest.model.width]);
    checkFinite(action, "gradient", gradient.data);
  }

  #mustHaveRoom(action: string, key: string, targets: HostTensor | undefined): void {
    if (this.#slice.head && !targets) {
      throw new TypeError(`${action}: it is to be kept, and its targets are missing`);
    }
    if (this.#kept.has(key)) throw new TypeError(`${action}: it is kept already`);
    if (this.#kept.size >= KEPT_MAX) {
      throw new RangeError(`${action}: ${this.#kept.size} of ${KEPT_MAX} micro-batches are kept`);
    }
  }

  #upload(
    scope: Scope,
    input: HostTensor,
    targets: HostTensor | undefined,
    [, length]: readonly [number, number],
  ): Record<string, DeviceTensor> {
    const upload = (tensor: HostTensor) => scope.adopt(this.#device.upload(tensor));
    const positions = Int32Array.from({ length }, (_, position) => position);
    return {
      [this.#slice.embedding ? Port.tokens : Port.hidden]: upload(input),
      [Port.positions]: upload({ dataType: "i32", shape: [length], data: positions }),
      ...(targets && { [Port.targets]: upload(targets) }),
    };
  }

  async #downloadResult(
    action: string,
    yielded: Readonly<Record<string, DeviceTensor>>,
    targets: HostTensor | undefined,
  ): Promise<ForwardResult> {
    const kind = !this.#slice.head ? Port.activation : targets ? Port.loss : Port.logits;
    const tensor = await this.#device.download(yielded[kind]);
    mustLeaveFinite(`${action}: ${kind}`, tensor.data);
    if (kind === Port.activation) return { kind, activation: tensor };
    if (kind === Port.logits) return { kind, logits: tensor };
    let tokens = 0;
    for (const target of targets!.data) if (target >= 0) tokens += 1;
    return { kind, lossSum: tensor.data[0], tokens };
  }

  async #clearGradients(): Promise<void> {
    this.#mustBeOpen("Cannot clear gradients");
    for (const { parameter: { shape }, tensors } of this.#held) {
      const program = await this.#program(`clear:${shape.length}`, () => clearGraph(shape.length));
      await program.run({ gradientSum: tensors.gradientSum });
    }
    this.#tornGradients = undefined;
  }

  /** Visits the numbers of the state in their order, one parameter at a time. */
  async #walkState(action: string, visit: (bytes: Uint8Array, offset: number) => void): Promise<void> {
    this.#mustBeWhole(action);
    const tensors = SECTIONS.flatMap((section) => this.#held.map(({ tensors }) => tensors[section]));
    const contents = readAhead(this.#device, tensors);
    for (const section of SECTIONS) {
      for (const { parameter } of this.#held) {
        const { data } = await following(contents);
        mustLeaveFinite(`${action}: ${section} of ${parameter.name}`, data);
        visit(bytesOf(data as Float32Array), stateOffset(this.layout, section, parameter));
      }
    }
  }

  #drop(key: string): void {
    this.#kept.get(key)?.scope[Symbol.dispose]();
    this.#kept.delete(key);
  }

  #mustBeOpen(action: string): void {
    if (this.#closed) throw new TypeError(`${action}: stage ${this.index} is closed`);
  }

  #mustBeWhole(action: string): void {
    this.#mustBeOpen(action);
    if (this.#tornState) throw new Error(`${action}: ${this.#tornState}; import a state first`);
  }

  #mustHaveWholeGradients(action: string): void {
    if (this.#tornGradients) {
      throw new Error(`${action}: ${this.#tornGradients}; clear the gradients first`);
    }
  }
}

/** Upstream gradient of the loss sum by itself. */
const ONE: HostTensor = { dataType: "f32", shape: [1], data: Float32Array.of(1) };

/** Graphs of a slice that every micro-batch needs. */
interface SliceGraphs {
  /** The slice, undifferentiated: saves nothing. */
  readonly whole: Graph;
  /** Name of what it yields. */
  readonly output: typeof Port.activation | typeof Port.loss;
  /** Yields also what backward reads. */
  readonly forward: Graph;
  readonly backward: Graph;
  readonly saved: ReadonlySet<string>;
}

function sliceGraphs(manifest: Manifest, slice: Slice, layout: StageLayout): SliceGraphs {
  const output = slice.head ? Port.loss : Port.activation;
  const whole = decoderGraph(manifest.model, slice, output);
  const { forward, backward, saved } = differentiate(whole, {
    outputs: [output],
    withRespectTo: slice.embedding ? [] : [Port.hidden],
    accumulate: layout.parameters.map(({ name }) => name),
  });
  return { whole, output, forward, backward, saved: new Set(saved) };
}

function checkFactor(action: string, what: string, value: number): void {
  if (!Number.isFinite(value) || value < 0) {
    throw new TypeError(`${action}: ${what} is ${value}, expected 0 or more`);
  }
}
