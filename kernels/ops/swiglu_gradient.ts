/**
 * Gradient of `swiglu`: with σ = 1 / (1 + e^−gate),
 * dgate = dy · up · σ · (1 + gate · (1 − σ)) and dup = dy · gate · σ.
 *
 * Shapes: `gate`, `up`, `dy [...]` → `dgate` and `dup [...]`.
 */

import { defineOp, floats } from "../op.ts";
import { shapeRule } from "../shapes.ts";
import { elementwise } from "../webgpu/elementwise.ts";

export const swigluGradient = defineOp({
  inputs: [floats("gate"), floats("up"), floats("dy")],
  outputs: ["dgate", "dup"],
  shapes: shapeRule("...N, ...N, ...N -> ...N, ...N"),
  reference([gate, up, dy], [dgate, dup]) {
    for (let i = 0; i < dy.data.length; i++) {
      const z = gate.data[i];
      const sigmoid = 1 / (1 + Math.exp(-z));
      dgate.data[i] = dy.data[i] * up.data[i] * sigmoid * (1 + z * (1 - sigmoid));
      dup.data[i] = dy.data[i] * z * sigmoid;
    }
  },
  onnx(writer, [gate, up, dy]) {
    const sigmoid = writer.node("Sigmoid", [gate]);
    const silu = writer.node("Mul", [gate, sigmoid]);
    // σ (1 + z (1 − σ)) = σ + silu − silu σ
    const slope = writer.node("Sub", [
      writer.node("Add", [sigmoid, silu]),
      writer.node("Mul", [silu, sigmoid]),
    ]);
    const dgate = writer.node("Mul", [writer.node("Mul", [dy, up]), slope]);
    return [dgate, writer.node("Mul", [dy, silu])];
  },
  webgpu(writer, [gate, up, dy], [dgate, dup]) {
    writer.dispatch(elementwise(writer.limits, dgate, {
      source: [
        new URL("./sigmoid.wgsl", import.meta.url),
        new URL("./swiglu_gradient.wgsl", import.meta.url),
      ],
      types: {
        Gate: gate.storage,
        Up: up.storage,
        DY: dy.storage,
        DGate: dgate.storage,
        DUp: dup.storage,
      },
      bindings: [gate, up, dy, dgate, dup],
    }));
  },
});
