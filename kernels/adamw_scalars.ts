/**
 * What the `adamw` op wants to know about a step, as `[1]`-shaped tensors.
 */

import type { HostTensor } from "./device.ts";

/** One step, as its caller sees it. */
export interface AdamwStep {
  /** Number of this step, from 1. */
  readonly step: number;
  /** Factor from gradient sum to gradient: clipping ÷ token count. */
  readonly scale: number;
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
}

/** Inputs `scale`, `rate`, `correction1` and `correction2` of the op `adamw`, rounded once. */
export function adamwScalars(
  { step, scale, learningRate, beta1, beta2 }: AdamwStep,
): Readonly<Record<"scale" | "rate" | "correction1" | "correction2", HostTensor>> {
  if (!Number.isSafeInteger(step) || step < 1) {
    throw new TypeError(`Cannot make AdamW scalars: step is ${step}, expected 1 or more`);
  }
  return {
    scale: scalar(scale),
    rate: scalar(learningRate),
    correction1: scalar(1 / (1 - beta1 ** step)),
    correction2: scalar(1 / (1 - beta2 ** step)),
  };
}

function scalar(value: number): HostTensor {
  return { dataType: "f32", shape: [1], data: Float32Array.of(value) };
}
