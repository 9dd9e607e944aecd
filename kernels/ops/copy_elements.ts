/** The dispatch of ops that only look at the same numbers otherwise. */

import { elementwise } from "../webgpu/elementwise.ts";
import type { WgslTensor, WgslWriter } from "../webgpu/writer.ts";

/** Fills `y` with the elements of `x`, in their order. */
export function copyElements(writer: WgslWriter, x: WgslTensor, y: WgslTensor): void {
  writer.dispatch(elementwise(writer.limits, y, {
    source: [new URL("../webgpu/cast.wgsl", import.meta.url)],
    types: { X: x.storage, Y: y.storage },
    bindings: [x, y],
  }));
}
