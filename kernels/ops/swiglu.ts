/**
 * The gated activation of the feed-forward block: y = silu(gate) · up with
 * silu(z) = z / (1 + e^−z). (Shazeer, 2020, equation 5.)
 *
 * Shapes: `gate` and `up [...]` → `y [...]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const swiglu = defineOp({
  inputs: [floats("gate"), floats("up")],
  outputs: ["y"],
  shapes: shapeRule("...N, ...N -> ...N"),
  reference([gate, up], [y]) {
    for (let i = 0; i < y.data.length; i++) {
      y.data[i] = gate.data[i] / (1 + Math.exp(-gate.data[i])) * up.data[i];
    }
  },
  gradient(writer, upstream, [gate, up]) {
    return writer.op("swigluGradient", [gate, up, upstream]);
  },
  onnx(writer, [gate, up]) {
    const silu = writer.node("Mul", [gate, writer.node("Sigmoid", [gate])]);
    return [writer.node("Mul", [silu, up])];
  },
  webgpu(writer, [gate, up], [y]) {
    writer.dispatch(elementwise(writer.limits, y, {
      source: [new URL("./sigmoid.wgsl", import.meta.url), new URL("./swiglu.wgsl", import.meta.url)],
      types: { Gate: gate.storage, Up: up.storage, Y: y.storage },
      bindings: [gate, up, y],
    }));
  },
});
