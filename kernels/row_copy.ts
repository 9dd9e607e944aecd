/**
 * Rows that are copied from one tensor into another: what every device asks of
 * such a copy, and the copy itself where both are in host memory.
 */

import type { DeviceTensor } from "./device.ts";
import { elementCount, formatShape } from "./shapes.ts";

/** @throws {TypeError} if these rows can't be copied, as {@link Device.copyRows} says. */
export function checkRowCopy(source: DeviceTensor, destination: DeviceTensor, rows: Int32Array): void {
  const refuse = (why: string): never => {
    throw new TypeError(`Cannot copy rows: ${why}`);
  };
  if (source === destination) refuse("source and destination are one tensor");
  for (const { dataType } of [source, destination]) {
    if (dataType !== "f32") refuse(`a tensor is ${dataType}, expected f32`);
  }
  const [given, width] = [source, destination].map(({ shape }) => shape.at(-1));
  if (given === undefined || width === undefined || given % width !== 0) {
    refuse(`source has shape ${formatShape(source.shape)}, destination ${formatShape(destination.shape)}`);
  }
  if (!(rows instanceof Int32Array)) refuse("rows are no Int32Array");
  const [held, places] = [source, destination].map(({ shape }) => elementCount(shape) / width!);
  if (rows.length > held) refuse(`${rows.length} are asked for, but source holds ${held}`);
  const seen = new Set<number>();
  for (const row of rows) {
    if (row < 0 || row >= places) refuse(`row is ${row}, expected 0 to ${places - 1}`);
    if (seen.has(row)) refuse(`row ${row} is named twice`);
    seen.add(row);
  }
}

/** Copies rows that {@link checkRowCopy} has passed. */
export function copyRows(
  source: Contents["data"],
  destination: Contents,
  rows: Int32Array,
): void {
  const width = destination.shape.at(-1)!;
  rows.forEach((row, i) => destination.data.set(source.subarray(i * width, (i + 1) * width), row * width));
}

interface Contents {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}
