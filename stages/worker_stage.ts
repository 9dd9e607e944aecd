/**
 * A stage that computes in a thread of its own. Native kernels block the thread
 * that calls them, and a host that computes must still answer, send and receive.
 * This end only passes calls on, in their order, and holds no numbers.
 */

import { DeviceLost, type HostTensor } from "../kernels/mod.ts";
import type { Manifest } from "../run/mod.ts";
import type { WorkerDevice } from "./open_device.ts";
import { CacheFull, type Continued, type SessionResult, type SessionRun, type Sessions } from "./sessions.ts";
import type { ForwardResult, Stage, StateManifest, StepUpdate } from "./stage.ts";

/** What is asked of the thread. `open` comes first, and once. */
export type StageCall =
  | {
    readonly method: "open";
    readonly manifest: Manifest;
    readonly index: number;
    readonly device: WorkerDevice;
    readonly cacheBytes: number | undefined;
  }
  | { readonly method: "extend"; readonly run: SessionRun }
  | { readonly method: "end"; readonly key: string }
  | {
    readonly method: "forward";
    readonly key: string;
    readonly input: HostTensor;
    readonly targets: HostTensor | undefined;
    readonly keep: boolean;
  }
  | {
    readonly method: "backward";
    readonly key: string;
    readonly gradient: HostTensor | undefined;
    readonly accumulate: boolean;
  }
  | { readonly method: "release"; readonly key: string }
  | { readonly method: "gradientSum" | "clearGradients" | "exportState" | "describeState" | "close" }
  | { readonly method: "apply"; readonly update: StepUpdate }
  | { readonly method: "importState"; readonly manifest: StateManifest; readonly bytes: Uint8Array };

/** What can be known of the stage without asking it. */
export interface StageFacts {
  readonly count: number;
  readonly step: number;
  readonly parameters: number;
  readonly kept: number;
  readonly inFlightMax?: number;
  readonly sessions?: SessionFacts;
}

/** What can be known of its sessions. */
export type SessionFacts = Omit<Sessions, "extend" | "end">;

/** How the thread answers the call of the same number. */
export type StageAnswer =
  & { readonly call: number }
  & (
    | { readonly ok: true; readonly value: unknown; readonly facts: StageFacts }
    | {
      readonly ok: false;
      readonly error: { readonly name: string; readonly message: string };
      /** Without them the stage is not open. */
      readonly facts?: StageFacts;
    }
  );

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** What a thread runs. Spelled out here, so that tools that pack programs find it. */
const PROGRAM = new URL("./stage_worker.ts", import.meta.url);

/** A stage in a worker. */
export class WorkerStage implements Stage {
  readonly index: number;
  readonly sessions: Sessions;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #facts: StageFacts = { count: 0, step: 0, parameters: 0, kept: 0 };
  #last = 0;
  readonly #onLost: (error: DeviceLost) => void;
  /** Why no call can be answered any more. */
  #broken: Error | undefined;

  private constructor(index: number, onLost: (error: DeviceLost) => void, program: URL) {
    this.index = index;
    this.sessions = this.#sessionsThere();
    this.#onLost = onLost;
    this.#worker = new Worker(program, { type: "module", name: `stage ${index}` });
    this.#worker.onmessage = ({ data }: MessageEvent<StageAnswer>) => this.#onAnswer(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#lose(new DeviceLost(`The thread of stage ${index} crashed: ${event.message}`));
    };
  }

  /**
   * Starts a thread and opens the stage in it.
   *
   * @param options.cacheBytes of keys and values that sessions may keep; as `CompiledStage` sees fit without it.
   * @param options.onLost told once, when the device is gone, or the thread with it: every call that waits
   *   and every later one rejects with this error.
   * @throws {Error} if the device does not work on this machine.
   */
  static async open(
    { manifest, index, device, cacheBytes, onLost = () => {}, program = PROGRAM }: {
      readonly manifest: Manifest;
      readonly index: number;
      readonly device: WorkerDevice;
      readonly cacheBytes?: number;
      readonly onLost?: (error: DeviceLost) => void;
      /** What the thread runs; for tests. */
      readonly program?: URL;
    },
  ): Promise<WorkerStage> {
    const stage = new WorkerStage(index, onLost, program);
    try {
      await stage.#call({ method: "open", manifest, index, device, cacheBytes });
    } catch (error) {
      stage.#worker.terminate();
      throw error;
    }
    return stage;
  }

  get count(): number {
    return this.#facts.count;
  }

  get step(): number {
    return this.#facts.step;
  }

  get parameters(): number {
    return this.#facts.parameters;
  }

  get kept(): number {
    return this.#facts.kept;
  }

  get inFlightMax(): number {
    return this.#facts.inFlightMax ?? 1;
  }

  async forward(
    key: string,
    input: HostTensor,
    targets: HostTensor | undefined,
    { keep }: { readonly keep: boolean },
  ): Promise<ForwardResult> {
    const call = {
      method: "forward",
      key,
      input: copyOf(input),
      targets: targets && copyOf(targets),
      keep,
    } as const;
    return await this.#call(call, buffersOf(call.input, call.targets)) as ForwardResult;
  }

  async backward(
    key: string,
    gradient: HostTensor | undefined,
    { accumulate }: { readonly accumulate: boolean },
  ): Promise<HostTensor | undefined> {
    const call = { method: "backward", key, gradient: gradient && copyOf(gradient), accumulate } as const;
    return await this.#call(call, buffersOf(call.gradient)) as HostTensor | undefined;
  }

  release(key: string): void {
    this.#call({ method: "release", key }).catch(() => {
      // The thread is gone, and with it what was kept.
    });
  }

  async gradientSum(): Promise<Float32Array> {
    return await this.#call({ method: "gradientSum" }) as Float32Array;
  }

  async clearGradients(): Promise<void> {
    await this.#call({ method: "clearGradients" });
  }

  async apply(update: StepUpdate): Promise<void> {
    const gradientSum = update.gradientSum.slice();
    await this.#call({ method: "apply", update: { ...update, gradientSum } }, [gradientSum.buffer]);
  }

  async exportState(): Promise<{ readonly manifest: StateManifest; readonly bytes: Uint8Array }> {
    return await this.#call({ method: "exportState" }) as { manifest: StateManifest; bytes: Uint8Array };
  }

  async importState(manifest: StateManifest, bytes: Uint8Array): Promise<void> {
    const copy = bytes.slice();
    await this.#call({ method: "importState", manifest, bytes: copy }, [copy.buffer]);
  }

  async describeState(): Promise<StateManifest> {
    return await this.#call({ method: "describeState" }) as StateManifest;
  }

  async close(): Promise<void> {
    if (this.#broken !== undefined) return;
    await this.#call({ method: "close" });
    this.#break(new Error(`Stage ${this.index} was closed`));
    this.#worker.terminate();
  }

  /** The stage's sessions, as they are seen from here. */
  #sessionsThere(): Sessions {
    const facts = (): SessionFacts => this.#facts.sessions ?? NO_SESSIONS;
    return {
      get capacityTokens() {
        return facts().capacityTokens;
      },
      get roomTokens() {
        return facts().roomTokens;
      },
      get count() {
        return facts().count;
      },
      extend: async ({ sequences, input }) => {
        const run = { sequences: sequences.map(withOwnText), input: copyOf(input) };
        return await this.#call({ method: "extend", run }, buffersOf(run.input)) as SessionResult;
      },
      end: (key) =>
        void this.#call({ method: "end", key }).catch(() => {
          // The thread is gone, and with it what was kept.
        }),
    };
  }

  #call(call: StageCall, transfer: Transferable[] = []): Promise<unknown> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    const number = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
      this.#worker.postMessage({ number, call }, transfer);
    });
  }

  #onAnswer(answer: StageAnswer): void {
    const pending = this.#pending.get(answer.call);
    this.#pending.delete(answer.call);
    if (answer.facts) this.#facts = answer.facts;
    if (answer.ok) {
      pending?.resolve(answer.value);
      return;
    }
    const error = errorOf(answer.error);
    pending?.reject(error);
    if (error instanceof DeviceLost) this.#lose(error);
  }

  #lose(error: DeviceLost): void {
    if (this.#broken !== undefined) return;
    this.#break(error);
    this.#worker.terminate();
    this.#onLost(error);
  }

  #break(error: Error): void {
    this.#broken = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

/** Nothing is known of them yet. */
const NO_SESSIONS: SessionFacts = { capacityTokens: 0, roomTokens: 0, count: 0 };

/** Its text alone, and not all of which that may be a part. */
function withOwnText(sequence: Continued): Continued {
  const { draw } = sequence;
  return draw ? { ...sequence, draw: { ...draw, text: draw.text.slice() } } : sequence;
}

/** A copy in a buffer of its own, to be given away: a view would drag its whole buffer along. */
function copyOf(tensor: HostTensor): HostTensor {
  return { dataType: tensor.dataType, shape: tensor.shape, data: tensor.data.slice() };
}

function buffersOf(...tensors: readonly (HostTensor | undefined)[]): Transferable[] {
  return tensors.flatMap((tensor) => tensor === undefined ? [] : [tensor.data.buffer as ArrayBuffer]);
}

/** The classes that callers tell apart survive the way between threads. */
function errorOf({ name, message }: { readonly name: string; readonly message: string }): Error {
  const error = name === "DeviceLost"
    ? new DeviceLost(message)
    : name === "CacheFull"
    ? new CacheFull(message)
    : name === "RangeError"
    ? new RangeError(message)
    : /TypeError|BadState/.test(name)
    ? new TypeError(message)
    : new Error(message);
  error.name = name;
  return error;
}
