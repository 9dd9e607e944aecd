/**
 * What a host holds: one slice of the model, with its optimizer state. It
 * knows no peers and no time; callers say what to compute, and when.
 */

import type { HostTensor } from "../kernels/device.ts";
import type { Sessions } from "./sessions.ts";

/** What forward found at the end of this stage. */
export type ForwardResult =
  /** Not the last stage: hidden states `[B, T, C]` for the next one. */
  | { readonly kind: "activation"; readonly activation: HostTensor }
  /** The last stage, with targets: sum over tokens of the cross-entropy, in nats. */
  | { readonly kind: "loss"; readonly lossSum: number; readonly tokens: number }
  /** The last stage, without targets: logits `[B, V]` of each sequence's last position. */
  | { readonly kind: "logits"; readonly logits: HostTensor };

/** How a step of the optimizer is taken. */
export interface StepUpdate {
  /** Sum of the gradients of the whole step, laid out as `gradientSum` lays it out. */
  readonly gradientSum: Float32Array;
  /** Factor that turns the sum into what AdamW sees: clipping ÷ token count. */
  readonly scale: number;
  /** Of this step. */
  readonly learningRate: number;
}

/** State of a stage, cut into pieces that are named by their content. */
export interface StateManifest {
  /** Optimizer steps that this state has taken. */
  readonly step: number;
  /** SHA-256, hex, over the step, the layout and the pieces' hashes. */
  readonly stateHash: string;
  /** SHA-256, hex, of each piece in order. */
  readonly pieces: readonly string[];
  /** Length of each piece but the last, in bytes. */
  readonly pieceBytes: number;
  /** Length of the whole state, in bytes. */
  readonly bytes: number;
}

/**
 * One slice of a model on one device. Calls take effect in their order; of those of several
 * micro-batches, the results of one may arrive while the next is computed.
 */
export interface Stage {
  /** Which slice this is, from 0. */
  readonly index: number;
  /** How many slices the model has. */
  readonly count: number;
  /** Optimizer steps taken so far. */
  readonly step: number;
  /** Number of parameters that this stage holds. */
  readonly parameters: number;
  /** Micro-batches that it pays to give it at once; without it, 1. */
  readonly inFlightMax?: number;
  /**
   * Texts that are being continued. An optimizer step leaves them as they are; `importState` ends all.
   * Without it the stage only trains.
   */
  readonly sessions?: Sessions;

  /**
   * Runs a micro-batch through this stage.
   *
   * @param key names the micro-batch; what backward needs is kept under it if `keep`.
   * @param input token ids `[B, T]` for stage 0, hidden states `[B, T, C]` after.
   * @param targets token ids `[B, T]`, −1 where nothing is to be learnt; last stage only.
   * @throws {TypeError} if shape, type or range (token ids, finiteness) does not fit.
   * @throws {RangeError} if the result is not finite: numbers have outgrown f32 in this stage.
   */
  forward(
    key: string,
    input: HostTensor,
    targets: HostTensor | undefined,
    options: { readonly keep: boolean },
  ): Promise<ForwardResult>;

  /**
   * Takes a gradient back through this stage.
   *
   * @param gradient of the loss sum by this stage's output `[B, T, C]`; `undefined` at the last stage.
   * @param options.accumulate whether the parameter gradients are added to the sum.
   * @returns gradient by this stage's input, `undefined` at stage 0. Whatever
   *   was kept under `key` is freed.
   * @throws {TypeError} if nothing is kept under `key`, or the gradient does not fit or is not finite;
   *   nothing has been accumulated then, and the micro-batch is still kept.
   * @throws {RangeError} if the gradient outgrew f32 in this stage: the sum is spoilt, and the stage
   *   refuses to add to it or to hand it out until `clearGradients`.
   */
  backward(
    key: string,
    gradient: HostTensor | undefined,
    options: { readonly accumulate: boolean },
  ): Promise<HostTensor | undefined>;

  /** Frees what is kept under `key`; nothing happens if there is nothing. */
  release(key: string): void;
  /** How many micro-batches are kept. */
  readonly kept: number;

  /**
   * Copy of the accumulated gradient sum: all parameters, flat, in the order of `stageLayout`.
   *
   * @throws {RangeError} if a value is not finite.
   */
  gradientSum(): Promise<Float32Array>;
  /** Sets the accumulated sum to zero. */
  clearGradients(): Promise<void>;
  /** Takes one optimizer step, clears the gradients and adds one to `step`. */
  apply(update: StepUpdate): Promise<void>;

  /** The state as it stands now, as manifest and bytes. The bytes are a copy. */
  exportState(): Promise<{ readonly manifest: StateManifest; readonly bytes: Uint8Array }>;
  /**
   * Replaces the state. Kept micro-batches and gradients are dropped.
   * @throws {TypeError} if the bytes are not what the manifest names, or not of this stage.
   */
  importState(manifest: StateManifest, bytes: Uint8Array): Promise<void>;
  /** Manifest of the state as it stands now (hashes only; the bytes are not copied where that can be avoided). */
  describeState(): Promise<StateManifest>;

  /** Frees everything that the stage holds. */
  close(): Promise<void>;
}
