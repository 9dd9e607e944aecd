/**
 * What one row of the table of ops says: shapes, the plain-loop truth, the
 * gradient as other ops, and how ONNX spells it. A row knows no device.
 */

import type { DataType } from "./device.ts";
import type { Value } from "./graph.ts";
import type { OnnxWriter } from "./onnx/writer.ts";
import type { Shape, ShapeRule } from "./shapes.ts";
import type { WgslTensor, WgslWriter } from "./webgpu/writer.ts";

/** An input of an op. */
export interface Port<Type extends DataType = DataType> {
  readonly name: string;
  readonly dataType: Type;
}

/** Named inputs of type `f32`. */
export function floats(name: string): Port<"f32"> {
  return { name, dataType: "f32" };
}

/** Named inputs of type `i32`: token ids, positions. */
export function integers(name: string): Port<"i32"> {
  return { name, dataType: "i32" };
}

/** A host tensor whose element type is known. */
export interface TypedTensor<Type extends DataType = DataType> {
  readonly shape: readonly number[];
  readonly data: Type extends "i32" ? Int32Array : Float32Array;
}

/** One value for each input of a row. */
export type InputValues<Inputs extends readonly Port[]> = {
  readonly [Index in keyof Inputs]: Value;
};

/** One tensor for each input of a row. */
export type InputTensors<Inputs extends readonly Port[]> = {
  readonly [Index in keyof Inputs]: TypedTensor<Inputs[Index]["dataType"]>;
};

/** One value for each output of a row. */
export type OutputValues<Outputs extends readonly string[]> = {
  readonly [Index in keyof Outputs]: Value;
};

/** One tensor for each output of a row. Outputs are always `f32`. */
export type OutputTensors<Outputs extends readonly string[]> = {
  readonly [Index in keyof Outputs]: TypedTensor<"f32">;
};

/** One ONNX value name for each of a row's inputs or outputs. */
export type Names<Ports extends readonly unknown[]> = { readonly [Index in keyof Ports]: string };

/** One tensor of a WebGPU plan for each of a row's inputs or outputs. */
export type WgslTensors<Ports extends readonly unknown[]> = { readonly [Index in keyof Ports]: WgslTensor };

/** Where a gradient rule writes its ops. It may mix forward values and gradients. */
export interface GradientWriter {
  /** Adds one op to the backward graph. Forward values that it takes are saved by forward. */
  op(
    name: string,
    inputs: readonly Value[],
    attributes?: Readonly<Record<string, unknown>>,
  ): readonly Value[];
}

/** One row. Attributes are plain JSON. */
export interface OpRow<
  Inputs extends readonly Port[] = readonly Port[],
  Outputs extends readonly string[] = readonly string[],
  // deno-lint-ignore no-explicit-any -- the table holds rows of every kind of attributes
  Attributes = any,
> {
  readonly inputs: Inputs;
  /** The first output is the result; further ones are for the gradient and have none themselves. */
  readonly outputs: Outputs;
  /** Outputs that keep 32 bits where others are stored in 16: logarithms, and factors of whole rows. */
  readonly wide?: readonly Outputs[number][];
  readonly shapes: ShapeRule<Attributes>;
  /** What the elements of the integer input of this name may be, both ends included. */
  readonly integerRange?: (
    inputs: readonly (readonly number[])[],
    attributes: Attributes,
    name: Inputs[number]["name"],
  ) => { readonly minimum: number; readonly maximum: number };
  /**
   * The truth, in plain loops: `f32` in and out, sums in float64. Outputs
   * arrive filled with zeros.
   */
  reference(
    inputs: InputTensors<Inputs>,
    outputs: OutputTensors<Outputs>,
    attributes: Attributes,
  ): void;
  /**
   * Given the gradient by the first output, the gradient by each input, or
   * `undefined` where there is none. Unused ones cost nothing: dead ops are
   * dropped. A row without this can't be differentiated through.
   */
  gradient?(
    writer: GradientWriter,
    upstream: Value,
    inputs: InputValues<Inputs>,
    outputs: OutputValues<Outputs>,
    attributes: Attributes,
  ): readonly (Value | undefined)[];
  /** Writes ONNX nodes; returns the names of what they compute, one per output. */
  onnx(
    writer: OnnxWriter,
    inputs: Names<Inputs>,
    attributes: Attributes,
    shapes: readonly Shape[],
  ): Names<Outputs>;
  /** Writes WGSL dispatches that fill every element of the outputs. */
  webgpu(
    writer: WgslWriter,
    inputs: WgslTensors<Inputs>,
    outputs: WgslTensors<Outputs>,
    attributes: Attributes,
  ): void;
}

/** Checks a row's types where it is written. */
export function defineOp<
  const Inputs extends readonly Port[],
  const Outputs extends readonly string[],
  Attributes = Readonly<Record<never, never>>,
>(row: OpRow<Inputs, Outputs, Attributes>): OpRow<Inputs, Outputs, Attributes> {
  return row;
}
