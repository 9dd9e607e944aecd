/**
 * One step of Adam with decoupled weight decay (Loshchilov & Hutter, 2019,
 * algorithm 2), elementwise. Every operation is rounded to `f32` by itself and
 * in this order, so that devices agree to the bit:
 *
 *     g = gradientSum · scale
 *     m ← β₁ m + (1 − β₁) g
 *     v ← β₂ v + (1 − β₂) (g · g)
 *     p ← p (1 − rate · decay) − rate · ((m · c₁) / (√(v · c₂) + ε))
 *
 * with c = 1 / (1 − βⁿ) at step n; `adamwScalars` in `adamw_scalars.ts` makes
 * the scalars. Denormals are numbers like others on the way, but m and v become
 * 0 where they would be one: the moments of a token that is never seen fade into
 * them, and rounding would keep them there, where many processors are slow.
 * Bits of a NaN are not promised.
 *
 * Each element is read before it is written, so that outputs may lie where the
 * inputs do. Meant for `GraphBuilder.update`. It reads the clock of no step and
 * knows no schedule.
 *
 * Shapes: `parameter`, `gradientSum`, `m`, `v [...]`; `scale`, `rate`,
 * `correction1`, `correction2 [1]` → `parameter`, `m`, `v [...]`.
 */

import { defineOp, floats } from "../op.ts";
import { elementCount, shapeRule } from "../shapes.ts";
import { workgroupsOf } from "../webgpu/workgroups.ts";
import type { WgslTensor } from "../webgpu/writer.ts";

export interface AdamwAttributes {
  /** β₁, the memory of the mean. */
  readonly beta1: number;
  /** β₂, the memory of the square. */
  readonly beta2: number;
  /** ε, keeps the quotient finite. */
  readonly epsilon: number;
  /** Decay per unit of rate; 0 for norm gains. */
  readonly weightDecay: number;
}

/** Numbers of less magnitude are denormals. */
const LEAST_NORMAL = 2 ** -126;

const BINARY32 = new URL("../webgpu/binary32.wgsl", import.meta.url);

export const adamw = defineOp({
  inputs: [
    floats("parameter"),
    floats("gradientSum"),
    floats("m"),
    floats("v"),
    floats("scale"),
    floats("rate"),
    floats("correction1"),
    floats("correction2"),
  ],
  outputs: ["parameter", "m", "v"],
  shapes: shapeRule<AdamwAttributes>(
    "...N, ...N, ...N, ...N, 1, 1, 1, 1 -> ...N, ...N, ...N",
  ),
  reference(
    [parameter, gradientSum, m, v, scales, rates, corrections1, corrections2],
    [newParameter, newM, newV],
    attributes,
  ) {
    const round = Math.fround;
    const [beta1, beta2] = [round(attributes.beta1), round(attributes.beta2)];
    const [rest1, rest2] = [round(1 - attributes.beta1), round(1 - attributes.beta2)];
    const epsilon = round(attributes.epsilon);
    const [scale, rate] = [scales.data[0], rates.data[0]];
    const [correction1, correction2] = [corrections1.data[0], corrections2.data[0]];
    const keep = round(1 - round(rate * round(attributes.weightDecay)));
    for (let i = 0; i < parameter.data.length; i++) {
      const g = round(gradientSum.data[i] * scale);
      const mean = settled(round(round(beta1 * m.data[i]) + round(rest1 * g)));
      const square = settled(round(round(beta2 * v.data[i]) + round(rest2 * round(g * g))));
      const root = round(Math.sqrt(round(square * correction2)));
      const step = round(round(mean * correction1) / round(root + epsilon));
      newParameter.data[i] = round(round(parameter.data[i] * keep) - round(rate * step));
      newM.data[i] = mean;
      newV.data[i] = square;
    }
  },
  onnx(
    writer,
    [parameter, gradientSum, m, v, scale, rate, correction1, correction2],
    attributes,
  ) {
    const binary = (operator: string) => (left: string, right: string) =>
      writer.node(operator, [left, right]);
    const [plus, minus, times, over] = ["Add", "Sub", "Mul", "Div"].map(binary);
    const constant = (value: number) => writer.float(value);
    const keep = minus(constant(1), times(rate, constant(attributes.weightDecay)));
    const settle = (value: string) =>
      writer.node("Where", [
        writer.node("Less", [writer.node("Abs", [value]), constant(LEAST_NORMAL)]),
        constant(0),
        value,
      ]);
    const g = times(gradientSum, scale);
    const mean = settle(plus(
      times(constant(attributes.beta1), m),
      times(constant(1 - attributes.beta1), g),
    ));
    const square = settle(plus(
      times(constant(attributes.beta2), v),
      times(constant(1 - attributes.beta2), times(g, g)),
    ));
    const root = writer.node("Sqrt", [times(square, correction2)]);
    const step = over(times(mean, correction1), plus(root, constant(attributes.epsilon)));
    return [minus(times(parameter, keep), times(rate, step)), mean, square];
  },
  webgpu(
    writer,
    [parameter, gradientSum, m, v, scale, rate, correction1, correction2],
    [newParameter, newM, newV],
    { beta1, beta2, epsilon, weightDecay },
  ) {
    const scalars = writer.scratch("f32", [5]);
    writer.dispatch({
      source: [BINARY32, new URL("./adamw_scalars.wgsl", import.meta.url)],
      constants: { ONE: bitsOf(1), DECAY: bitsOf(weightDecay) },
      bindings: [scale, rate, correction1, correction2, scalars].map(mustBeWhole),
      workgroups: [1, 1, 1],
    });
    writer.dispatch({
      source: [BINARY32, new URL("./adamw.wgsl", import.meta.url)],
      constants: {
        BETA1: bitsOf(beta1),
        BETA2: bitsOf(beta2),
        REST1: bitsOf(1 - beta1),
        REST2: bitsOf(1 - beta2),
        EPSILON: bitsOf(epsilon),
      },
      bindings: [parameter, gradientSum, m, v, scalars, newParameter, newM, newV].map(mustBeWhole),
      workgroups: workgroupsOf(writer.limits, Math.ceil(elementCount(parameter.shape) / 256)),
    });
  },
});

/** Zero for a denormal. */
function settled(number: number): number {
  return Math.abs(number) < LEAST_NORMAL ? 0 : number;
}

/** The bits of a number, rounded to `f32`. */
function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0];
}

/** Half the bits of a state are another state. */
function mustBeWhole(tensor: WgslTensor): WgslTensor {
  if (tensor.storage === "f32") return tensor;
  throw new TypeError(`Cannot plan adamw: a tensor is stored as ${tensor.storage}, expected f32`);
}
