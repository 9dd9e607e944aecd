/**
 * What a row of the table of ops needs to spell itself in ONNX. An interface
 * only, so that rows don't depend on protobuf or on a runtime.
 */

import type { Dimension } from "../shapes.ts";

/** An attribute of an ONNX node. */
export type OnnxAttribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly text: string }
  | { readonly ints: readonly number[] };

/** What computes a model. What a provider has no kernel for is computed on the CPU. */
export type OnnxProvider = "cpu" | "cuda" | "webgpu";

/** Writes nodes and constants; equal ones are written once. */
export interface OnnxWriter {
  /** For a row that has to go around what a provider does wrong. */
  readonly provider: OnnxProvider;
  /**
   * A node of the ONNX operator set.
   * @returns the name of its first output.
   */
  node(
    operator: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, OnnxAttribute>>,
  ): string;
  /** A node with several outputs, or of another domain. */
  nodes(
    operator: string,
    inputs: readonly string[],
    options: {
      readonly outputs: number;
      readonly domain?: string;
      readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
    },
  ): readonly string[];
  /** A run's size of a dimension, as `i64` of rank 1. */
  dimension(dimension: Dimension): string;
  /** A constant `f32` tensor. A plain number is a scalar. */
  float(values: number | readonly number[], shape?: readonly number[]): string;
  /** A constant `f64` tensor. */
  double(values: number | readonly number[], shape?: readonly number[]): string;
  /** A constant `i64` tensor, of rank 1 unless a plain number is given. */
  int64(values: number | readonly number[]): string;
}
