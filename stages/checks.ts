/**
 * What a stage demands of tensors at its doors: type, shape, and contents. It
 * only looks; whoever calls says what the tensor is for.
 */

import type { DataType, HostTensor } from "../kernels/mod.ts";

/**
 * @param action what can't be done otherwise: `Cannot forward micro-batch 7`.
 * @throws {TypeError} if type, shape or length differ.
 */
export function checkTensor(
  action: string,
  what: string,
  tensor: HostTensor,
  dataType: DataType,
  shape: readonly number[],
): void {
  const array = dataType === "f32" ? Float32Array : Int32Array;
  if (tensor.dataType !== dataType || !(tensor.data instanceof array)) {
    throw new TypeError(`${action}: ${what} is ${tensor.dataType}, expected ${dataType}`);
  }
  const same = tensor.shape.length === shape.length &&
    shape.every((length, axis) => tensor.shape[axis] === length);
  if (!same) {
    throw new TypeError(`${action}: ${what} is [${tensor.shape.join(", ")}], expected [${shape.join(", ")}]`);
  }
  const size = shape.reduce((product, length) => product * length, 1);
  if (tensor.data.length !== size) {
    throw new TypeError(`${action}: ${what} holds ${tensor.data.length} values, expected ${size}`);
  }
}

/** @throws {TypeError} if a value is outside [minimum, maximum]. */
export function checkRange(
  action: string,
  what: string,
  values: ArrayLike<number>,
  minimum: number,
  maximum: number,
): void {
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (value < minimum || value > maximum) {
      throw new TypeError(
        `${action}: ${what} ${index} is ${value}, expected an integer from ${minimum} to ${maximum}`,
      );
    }
  }
}

/** @throws {TypeError} if a value is NaN or infinite. */
export function checkFinite(action: string, what: string, values: ArrayLike<number>): void {
  const index = firstNotFinite(values);
  if (index >= 0) throw new TypeError(`${action}: value ${index} of ${what} is ${values[index]}`);
}

/**
 * What leaves a stage is finite, or does not leave it.
 *
 * @throws {RangeError} if a value is NaN or infinite: numbers have outgrown their type.
 */
export function mustLeaveFinite(what: string, values: ArrayLike<number>): void {
  const index = firstNotFinite(values);
  if (index >= 0) throw new RangeError(`${what} has the value ${values[index]} at ${index}`);
}

/** Place of the first value that is NaN or infinite, −1 if there is none. */
export function firstNotFinite(values: ArrayLike<number>): number {
  if (values instanceof Float32Array && Number.isFinite(sumOf(values))) return -1;
  for (let index = 0; index < values.length; index++) {
    if (!Number.isFinite(values[index])) return index;
  }
  return -1;
}

/** In four parts, which a processor adds side by side. In `f64`, where no finite `f32` values overflow. */
function sumOf(values: Float32Array): number {
  let a = 0, b = 0, c = 0, d = 0;
  const whole = values.length & ~3;
  for (let index = 0; index < whole; index += 4) {
    a += values[index];
    b += values[index + 1];
    c += values[index + 2];
    d += values[index + 3];
  }
  for (let index = whole; index < values.length; index++) a += values[index];
  return a + b + c + d;
}
