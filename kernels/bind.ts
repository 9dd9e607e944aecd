/**
 * Meets a graph with the tensors of one run: binds symbols to sizes and turns
 * away what does not fit, before anything is computed. Shared by all devices.
 */

import type { DataType } from "./device.ts";
import { type Graph, shapesOf, type Value } from "./graph.ts";
import type { OpRow } from "./op.ts";
import { OPS } from "./ops.ts";
import { elementCount, formatShape } from "./shapes.ts";

/** What binding looks at in a tensor. */
export interface Bindable {
  readonly dataType: DataType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** The shapes of one run. */
export type BoundShapes = ReadonlyMap<Value, readonly number[]>;

/**
 * Shape of every value of the graph in a run with these inputs.
 *
 * @throws {TypeError} if an input is missing, its type or shape does not fit the graph or the other
 *   inputs, or it holds an integer out of an op's range.
 */
export function bind(graph: Graph, inputs: ReadonlyMap<Value, Bindable>): BoundShapes {
  const shapes = new Map<Value, readonly number[]>();
  const symbols = new Map<string, number>();
  for (const value of graph.inputs) {
    const tensor = inputs.get(value);
    if (!tensor) throw new TypeError(`Cannot run graph: input ${value.name} is missing`);
    bindSymbols(value, tensor, symbols);
    shapes.set(value, tensor.shape);
  }
  for (const node of graph.nodes) {
    const row: OpRow = OPS[node.op];
    const given = node.inputs.map((value) => shapes.get(value)!);
    const found = shapesOf(
      `Cannot run ${node.op}`,
      row,
      given,
      node.attributes,
    ) as readonly (readonly number[])[];
    node.outputs.forEach((value, index) => shapes.set(value, found[index]));
  }
  for (const { value, ...range } of integerRanges(graph, shapes)) {
    checkRange(value, inputs.get(value)!, range);
  }
  return shapes;
}

/** What the elements of an integer input may be in a run, both ends included. */
export interface IntegerRange {
  readonly value: Value;
  readonly minimum: number;
  readonly maximum: number;
}

/** What ops ask of the integers they are given, in a run of these sizes. */
export function integerRanges(graph: Graph, shapes: BoundShapes): readonly IntegerRange[] {
  // Once, where every layer asks the same.
  const ranges = new Map<string, IntegerRange>();
  for (const node of graph.nodes) {
    const row: OpRow = OPS[node.op];
    if (!row.integerRange) continue;
    const given = node.inputs.map((value) => shapes.get(value)!);
    for (const [index, value] of node.inputs.entries()) {
      if (value.dataType !== "i32") continue;
      const range = row.integerRange(given, node.attributes, row.inputs[index].name);
      ranges.set(`${range.minimum} ${range.maximum} ${value.name}`, { value, ...range });
    }
  }
  return [...ranges.values()];
}

/**
 * Checks a tensor from outside: sizes that are positive integers, and as many
 * elements of the right type as they say.
 *
 * @param action begins the message, as in `Cannot upload tensor`.
 */
export function checkTensor(action: string, tensor: Bindable): void {
  const { dataType, shape, data } = tensor;
  if (!shape.every((size) => Number.isSafeInteger(size) && size > 0)) {
    throw new TypeError(`${action}: shape is ${formatShape(shape)}, expected positive integers`);
  }
  if (!(dataType === "f32" ? data instanceof Float32Array : data instanceof Int32Array)) {
    throw new TypeError(`${action}: data is ${data?.constructor.name}, expected ${dataType}`);
  }
  if (data.length !== elementCount(shape)) {
    throw new TypeError(
      `${action}: data holds ${data.length} elements, but its shape is ${formatShape(shape)}`,
    );
  }
}

function bindSymbols(value: Value, tensor: Bindable, symbols: Map<string, number>): void {
  const refuse = (why: string): never => {
    throw new TypeError(`Cannot run graph: input ${value.name} ${why}`);
  };
  if (tensor.dataType !== value.dataType) {
    refuse(`is ${tensor.dataType}, expected ${value.dataType}`);
  }
  if (tensor.shape.length !== value.shape.length) {
    refuse(`has shape ${formatShape(tensor.shape)}, expected ${formatShape(value.shape)}`);
  }
  value.shape.forEach((dimension, axis) => {
    const size = tensor.shape[axis];
    const expected = typeof dimension === "number" ? dimension : symbols.get(dimension);
    if (expected === undefined) symbols.set(dimension as string, size);
    else if (expected !== size) {
      const where = typeof dimension === "number" ? "" : `, but ${dimension} is ${expected}`;
      const shape = formatShape(value.shape);
      refuse(`has shape ${formatShape(tensor.shape)}, expected ${shape}${where}`);
    }
  });
}

/** @throws {TypeError} if an integer input holds an element out of its range. */
export function checkRange(
  value: Value,
  tensor: Pick<Bindable, "data">,
  { minimum, maximum }: { readonly minimum: number; readonly maximum: number },
): void {
  for (let i = 0; i < tensor.data.length; i++) {
    const element = tensor.data[i];
    if (element < minimum || element > maximum) {
      throw new TypeError(
        `Cannot run graph: input ${value.name} holds ${element}, expected ${minimum} to ${maximum}`,
      );
    }
  }
}
