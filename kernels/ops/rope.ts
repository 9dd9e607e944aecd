/**
 * Rotary position embedding (Su et al., 2021, equation 34), with the halves of
 * each head paired as Hugging Face's Llama pairs them: dimension i turns with
 * i + D/2 by the angle position · θ^(−2i/D). Sines and cosines are computed in
 * float64 and rounded once, so that devices agree.
 *
 * Shapes: `x [B, T, H·D]`, `positions [B, T]` or `[T]` (i32, ≥ 0) → `[B, T, H·D]`.
 */

import { defineOp, floats, integers } from "../op.ts";
import { elementCount, shapeRule } from "../shapes.ts";
import { workgroupsOf } from "../webgpu/workgroups.ts";
import { type FrequencyScaling, ropeFrequencies, turnWords } from "./rope_frequencies.ts";

/** Pairs of one workgroup: `@workgroup_size` of the file. */
const GROUP = 256;

export interface RopeAttributes {
  /** H. */
  readonly heads: number;
  /** D, even. */
  readonly headWidth: number;
  /** θ, the base of the wavelengths. */
  readonly theta: number;
  /** How frequencies are changed; default: not at all. */
  readonly scaling?: FrequencyScaling;
  /** Turn the other way: the gradient. */
  readonly inverse?: boolean;
}

const sizes = ({ heads, headWidth }: RopeAttributes) => ({ K: heads * headWidth });
const shared = shapeRule("B T K, T -> B T K", sizes);
const individual = shapeRule("B T K, B T -> B T K", sizes);

export const rope = defineOp({
  inputs: [floats("x"), integers("positions")],
  outputs: ["y"],
  shapes(inputs, attributes: RopeAttributes) {
    const { headWidth } = attributes;
    if (headWidth % 2 !== 0) throw new TypeError(`headWidth is ${headWidth}, expected an even one`);
    return (inputs[1].length === 1 ? shared : individual)(inputs, attributes);
  },
  integerRange: () => ({ minimum: 0, maximum: 2 ** 31 - 1 }),
  reference([x, positions], [y], { heads, headWidth, theta, scaling, inverse }) {
    const half = headWidth / 2;
    const [batch, length, width] = x.shape;
    const frequencies = Float64Array.from(ropeFrequencies(headWidth, theta, scaling));
    for (let row = 0; row < batch * length; row++) {
      const position = positions.data[positions.shape.length === 1 ? row % length : row];
      for (let i = 0; i < half; i++) {
        const angle = position * frequencies[i];
        const cosine = Math.fround(Math.cos(angle));
        const sine = Math.fround(inverse ? -Math.sin(angle) : Math.sin(angle));
        for (let head = 0; head < heads; head++) {
          const first = row * width + head * headWidth + i;
          const second = first + half;
          y.data[first] = x.data[first] * cosine - x.data[second] * sine;
          y.data[second] = x.data[second] * cosine + x.data[first] * sine;
        }
      }
    }
  },
  gradient(writer, upstream, [_x, positions], _outputs, attributes) {
    const inverse = !attributes.inverse;
    return [writer.op("rope", [upstream, positions], { ...attributes, inverse })[0], undefined];
  },
  onnx(writer, [x, positions], { heads, headWidth, theta, scaling, inverse }, [xShape, positionsShape]) {
    // One table row per entry of `positions`, looked up by its own place there.
    const angles = writer.node("Mul", [
      writer.node("Reshape", [
        writer.node("Cast", [positions], { to: { int: 11 } }),
        writer.int64([-1, 1]),
      ]),
      writer.double(ropeFrequencies(headWidth, theta, scaling), [1, headWidth / 2]),
    ]);
    const table = (operator: string, input: string) =>
      writer.node("Cast", [writer.node(operator, [input])], { to: { int: 1 } });
    const cosines = table("Cos", angles);
    const sines = table("Sin", inverse ? writer.node("Neg", [angles]) : angles);
    // One sequence has the shape of its batch already.
    const shape = positionsShape.length === 1 && xShape[0] === 1
      ? writer.int64([1, -1])
      : writer.node("Shape", [positions]);
    const places = writer.node("Reshape", [
      writer.node("Range", [
        writer.int64(0),
        writer.node("Squeeze", [writer.node("Shape", [cosines], { end: { int: 1 } })]),
        writer.int64(1),
      ]),
      shape,
    ]);
    const perBatch = positionsShape.length === 1 && xShape[0] !== 1
      ? writer.node("Expand", [places, writer.node("Shape", [x], { end: { int: 2 } })])
      : places;
    return [
      writer.nodes("RotaryEmbedding", [x, perBatch, cosines, sines], {
        domain: "com.microsoft",
        outputs: 1,
        attributes: { num_heads: { int: heads } },
      })[0],
    ];
  },
  webgpu(writer, [x, positions], [y], { heads, headWidth, theta, scaling, inverse }) {
    const count = elementCount(x.shape) / 2;
    writer.dispatch({
      source: [new URL("./rope.wgsl", import.meta.url)],
      sizes: { COUNT: count, POSITIONS: elementCount(positions.shape) },
      constants: { HEADS: heads, HALF: headWidth / 2, INVERSE: inverse ?? false },
      tables: { FREQUENCIES: turnWords(ropeFrequencies(headWidth, theta, scaling)) },
      types: { X: x.storage, Y: y.storage },
      bindings: [x, positions, y],
      workgroups: workgroupsOf(writer.limits, Math.ceil(count / GROUP)),
    });
  },
});
