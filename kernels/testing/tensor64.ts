/**
 * Tensors of float64 for tests: built from formulas, compared with tolerance.
 * Slow and obvious on purpose.
 */

import assert from "node:assert/strict";
import type { HostTensor } from "../device.ts";
import { elementCount } from "../shapes.ts";

/** A tensor in float64. Integers are kept as numbers. */
export interface Tensor64 {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

/** The tensor whose element at an index is `element(...index)`. */
export function tensor64(
  shape: readonly number[],
  element: (...index: number[]) => number,
): Tensor64 {
  const data: number[] = [];
  const visit = (index: readonly number[]): void => {
    if (index.length === shape.length) data.push(element(...index));
    else for (let i = 0; i < shape[index.length]; i++) visit([...index, i]);
  };
  visit([]);
  return { shape, data };
}

/** Reads an element: `at(x)(b, t, c)`. */
export function at({ shape, data }: Tensor64): (...index: number[]) => number {
  return (...index) => {
    let place = 0;
    shape.forEach((size, axis) => place = place * size + index[axis]);
    return data[place];
  };
}

/** The same elements under another shape. */
export function reshape({ data }: Tensor64, ...shape: number[]): Tensor64 {
  assert.equal(elementCount(shape), data.length);
  return { shape, data };
}

/** Σ of `term(i)` for i in 0 … count−1. */
export function sum(count: number, term: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += term(i);
  return total;
}

/** Rounded to what a device stores. */
export function toHost(tensor: Tensor64, dataType: HostTensor["dataType"] = "f32"): HostTensor {
  const { shape, data } = tensor;
  return { dataType, shape, data: dataType === "f32" ? Float32Array.from(data) : Int32Array.from(data) };
}

/** Elements as they are on a device. */
export function fromHost({ shape, data }: HostTensor): Tensor64 {
  return { shape, data: Array.from(data) };
}

/** Greatest magnitude of an element. */
export function greatestOf({ data }: Tensor64): number {
  return data.reduce((most, element) => Math.max(most, Math.abs(element)), 0);
}

/**
 * Asserts that two tensors agree, relative to the greatest element expected.
 *
 * @param tolerance share of the greatest element that may be missed.
 * @param magnitude what the terms of an element amount to, if they may cancel.
 */
export function assertClose(
  actual: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
  expected: Tensor64,
  tolerance: number,
  subject: string,
  magnitude = 0,
): void {
  assert.deepEqual([...actual.shape], [...expected.shape], `${subject}: shape`);
  const greatest = Math.max(greatestOf(expected), magnitude);
  expected.data.forEach((element, i) => {
    const off = Math.abs(actual.data[i] - element);
    const allowed = greatest * tolerance + 1e-30;
    assert.ok(off <= allowed, `${subject}: element ${i} is ${actual.data[i]}, expected ${element}`);
  });
}
