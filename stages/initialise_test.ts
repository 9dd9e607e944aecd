import assert from "node:assert/strict";
import { initialValues } from "./initialise.ts";
import type { Parameter } from "./parameters.ts";

const matrix: Parameter = {
  name: "model.layers.0.mlp.up_proj.weight",
  shape: [100, 500],
  size: 50_000,
  offset: 0,
  start: "normal",
  decays: true,
  residual: false,
};

/** Mean, deviation, and fourth moment over squared variance (3 for a normal distribution). */
function moments(values: Float32Array) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const central = (power: number) =>
    values.reduce((sum, value) => sum + (value - mean) ** power, 0) / values.length;
  return { mean, deviation: Math.sqrt(central(2)), kurtosis: central(4) / central(2) ** 2 };
}

Deno.test("matrices begin nearly normal, with a deviation of 0.02", () => {
  const { mean, deviation, kurtosis } = moments(initialValues(matrix, 1, 8));
  assert.ok(Math.abs(mean) < 3e-4, `${mean}`);
  assert.ok(Math.abs(deviation - 0.02) < 3e-4, `${deviation}`);
  assert.ok(Math.abs(kurtosis - 2.85) < 0.08, `${kurtosis}`);
});

Deno.test("what is added to the residual stream begins smaller", () => {
  const { deviation } = moments(initialValues({ ...matrix, residual: true }, 1, 8));
  assert.ok(Math.abs(deviation - 0.005) < 1e-4, `${deviation}`);
});

Deno.test("gains begin at one", () => {
  const gain = { ...matrix, name: "model.norm.weight", shape: [5], size: 5, start: "ones" } as const;
  assert.deepEqual([...initialValues(gain, 1, 8)], [1, 1, 1, 1, 1]);
});

Deno.test("biases begin at zero", () => {
  const bias = {
    ...matrix,
    name: "model.layers.0.self_attn.q_proj.bias",
    shape: [3],
    size: 3,
    start: "zeros",
  } as const;
  assert.deepEqual([...initialValues(bias, 1, 8)], [0, 0, 0]);
});

Deno.test("values depend on seed and name, and on nothing else", () => {
  const values = initialValues(matrix, 1, 8);
  assert.deepEqual(initialValues({ ...matrix, offset: 77 }, 1, 8), values);
  assert.notDeepEqual(initialValues(matrix, 2, 8), values);
  assert.notDeepEqual(initialValues({ ...matrix, name: "model.layers.1.mlp.up_proj.weight" }, 1, 8), values);
});

Deno.test("values do not change from one release or machine to the next", () => {
  const bits = new Uint32Array(initialValues({ ...matrix, size: 4 }, 1, 8).buffer);
  assert.deepEqual([...bits].map((word) => word.toString(16)), [
    "bc9946de",
    "bcb201ea",
    "3c528ee2",
    "3cec65ae",
  ]);
});
