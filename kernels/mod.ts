/**
 * The room's surface: build a graph, differentiate it, compile it on a device,
 * run it. Devices are imported from their own folders, so that a browser never
 * loads a native library.
 */

export * from "./adamw_scalars.ts";
export * from "./device.ts";
export * from "./gradient.ts";
export { type Graph, GraphBuilder, type Node, type Output, type Value } from "./graph.ts";
export type { OpName } from "./ops.ts";
export { ReferenceDevice } from "./reference/device.ts";
export { Scope } from "./scope.ts";
export { type Dimension, elementCount, formatShape, type Shape } from "./shapes.ts";
export * from "./square_sum.ts";
