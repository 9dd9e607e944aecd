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
 * the scalars. Meant for `GraphBuilder.update`. It reads the clock of no step
 * and knows no schedule.
 *
 * Shapes: `parameter`, `gradientSum`, `m`, `v [...]`; `scale`, `rate`,
 * `correction1`, `correction2 [1]` → `parameter`, `m`, `v [...]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";

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
      const mean = round(round(beta1 * m.data[i]) + round(rest1 * g));
      const square = round(round(beta2 * v.data[i]) + round(rest2 * round(g * g)));
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
    const g = times(gradientSum, scale);
    const mean = plus(
      times(constant(attributes.beta1), m),
      times(constant(1 - attributes.beta1), g),
    );
    const square = plus(
      times(constant(attributes.beta2), v),
      times(constant(1 - attributes.beta2), times(g, g)),
    );
    const root = writer.node("Sqrt", [times(square, correction2)]);
    const step = over(times(mean, correction1), plus(root, constant(attributes.epsilon)));
    return [minus(times(parameter, keep), times(rate, step)), mean, square];
  },
});
