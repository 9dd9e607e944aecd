/**
 * The first values of a parameter, from the run's seed and the parameter's name
 * alone: whoever initialises a stage, and however the model is cut, the bits
 * are the same. It asks no library for normal draws, as those may differ in the
 * last bit from machine to machine.
 *
 * A value is the sum of eight uniform 16-bit numbers, centred and scaled (the
 * Irwin–Hall distribution): close to a normal one, with nothing beyond 4.9
 * standard deviations. All of it is exact: integers, and one rounding to f32.
 *
 * Scales follow GPT-2 (Radford et al., 2019, section 2.3): 0.02, and less for
 * what is added to the residual stream, by the root of the number of additions.
 */

import { createHash } from "node:crypto";
import { philox, Purpose } from "../run/mod.ts";
import type { Parameter } from "./parameters.ts";

/** Standard deviation of a matrix's first values. */
const DEVIATION = 0.02;

/** Mean of the sum of eight numbers that are uniform in 0 … 65535. */
const SUM_MEAN = 8 * 65_535 / 2;
/** Variance of that sum. */
const SUM_VARIANCE = 8 * (65_536 ** 2 - 1) / 12;

/**
 * @param layers of the whole model.
 * @returns `parameter.size` values: ones for gains, zeros for biases, nearly normal ones for matrices.
 */
export function initialValues(parameter: Parameter, seed: number, layers: number): Float32Array {
  const values = new Float32Array(parameter.size);
  if (parameter.start !== "normal") return values.fill(parameter.start === "ones" ? 1 : 0);

  const deviation = parameter.residual ? DEVIATION / Math.sqrt(2 * layers) : DEVIATION;
  const factor = deviation / Math.sqrt(SUM_VARIANCE);
  const [name0, name1] = nameWords(parameter.name);
  const words = new Uint32Array(4);
  for (let index = 0; index < values.length; index++) {
    philox([seed, Purpose.initialisation], [index, Math.floor(index / 2 ** 32), name0, name1], words);
    let sum = 0;
    for (const word of words) sum += (word & 0xffff) + (word >>> 16);
    values[index] = (sum - SUM_MEAN) * factor;
  }
  return values;
}

/** 64 bits of the name's SHA-256. */
function nameWords(name: string): [number, number] {
  const digest = createHash("sha256").update(name).digest();
  return [digest.readUInt32LE(0), digest.readUInt32LE(4)];
}
