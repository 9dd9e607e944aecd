/**
 * The graphs that change a parameter: one step of AdamW, and setting a gradient
 * sum to zero. One graph serves every parameter of its rank, as sizes are
 * symbols. The learning rate arrives as a number; schedules are not known here.
 */

import { type Graph, GraphBuilder } from "../kernels/mod.ts";
import type { OptimizerConfig } from "../run/mod.ts";

const SIZES = ["N", "M", "L", "K"];

/** Numbers of one step, f32 `[1]` each, as `adamwScalars` makes them. */
const SCALARS = ["scale", "rate", "correction1", "correction2"] as const;

/**
 * Inputs `parameter`, `gradientSum`, `m`, `v`, all updated in place
 * (`gradientSum` to zero), and the scalars of `adamwScalars`.
 *
 * @param decays whether weight decay pulls at the parameter.
 */
export function updateGraph(rank: number, decays: boolean, optimizer: OptimizerConfig): Graph {
  const builder = new GraphBuilder();
  const input = (name: string) => builder.input(name, "f32", SIZES.slice(0, rank));
  const [parameter, gradientSum, m, v] = ["parameter", "gradientSum", "m", "v"].map(input);
  const [scale, rate, correction1, correction2] = SCALARS.map((name) => builder.input(name, "f32", [1]));
  const [newParameter, newM, newV] = builder.op(
    "adamw",
    [parameter, gradientSum, m, v, scale, rate, correction1, correction2],
    {
      beta1: optimizer.beta1,
      beta2: optimizer.beta2,
      epsilon: optimizer.epsilon,
      weightDecay: decays ? optimizer.weightDecay : 0,
    },
  );
  builder.update("parameter", newParameter);
  builder.update("m", newM);
  builder.update("v", newV);
  builder.update("gradientSum", builder.op("zeros", [gradientSum])[0]);
  return builder.build();
}

/** Input `gradientSum`, set to zero in place. */
export function clearGraph(rank: number): Graph {
  const builder = new GraphBuilder();
  const sum = builder.input("gradientSum", "f32", SIZES.slice(0, rank));
  builder.update("gradientSum", builder.op("zeros", [sum])[0]);
  return builder.build();
}
