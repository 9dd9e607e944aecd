/** `[..., C]` as `[N, C]`, for ONNX operators that want matrices. */

import type { OnnxWriter } from "../onnx/writer.ts";
import type { Shape } from "../shapes.ts";

/** The name of the flattened tensor; no copy is made when it runs. */
export function flattenRows(writer: OnnxWriter, name: string, shape: Shape): string {
  if (shape.length === 2) return name;
  const width = shape[shape.length - 1];
  if (typeof width !== "number") {
    throw new TypeError(`Cannot flatten ${name}: its last dimension is ${width}`);
  }
  return writer.node("Reshape", [name, writer.int64([-1, width])]);
}
