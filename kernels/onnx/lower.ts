/**
 * Spells a graph in ONNX, row by row. It runs nothing and needs no runtime.
 */

import type { Graph, Value } from "../graph.ts";
import type { OpRow } from "../op.ts";
import { OPS } from "../ops.ts";
import type { Dimension } from "../shapes.ts";
import { ONNX_TYPE, type OnnxConstant, type OnnxModel, type OnnxNode, type OnnxValue } from "./model.ts";
import type { OnnxAttribute, OnnxProvider, OnnxWriter } from "./writer.ts";

/**
 * The model of a graph: its inputs under {@link inputName}, its outputs under {@link outputName}, updates as
 * outputs under the names that `Graph.outputs` gives them.
 */
export function lower(graph: Graph, provider: OnnxProvider = "cpu"): OnnxModel {
  const inputs = graph.inputs.map((value) => onnxValue(inputName(value.name), value));
  const writer = new ModelWriter(inputs, provider);
  const names = new Map<Value, string>(graph.inputs.map((value) => [value, inputName(value.name)]));
  for (const { op, inputs, outputs, attributes } of graph.nodes) {
    const row: OpRow = OPS[op];
    const written = row.onnx(
      writer,
      inputs.map((value) => names.get(value)!),
      attributes,
      inputs.map(({ shape }) => shape),
    );
    outputs.forEach((value, index) => names.set(value, written[index]));
  }
  for (const { name, value } of graph.outputs) writer.output(name, names.get(value)!);
  return {
    inputs,
    outputs: graph.outputs.map(({ name, value }) => onnxValue(outputName(name), value)),
    ...writer.finish(),
  };
}

/**
 * Name of a graph's input in its model. All names of a model share one space, and what is between inputs and
 * outputs has names without a colon.
 */
export function inputName(name: string): string {
  return `in:${name}`;
}

/** Name of a graph's output in its model. */
export function outputName(name: string): string {
  return `out:${name}`;
}

function onnxValue(name: string, { dataType, shape }: Value): OnnxValue {
  return { name, type: ONNX_TYPE[dataType], shape };
}

class ModelWriter implements OnnxWriter {
  readonly provider: OnnxProvider;
  readonly #inputs: readonly OnnxValue[];
  readonly #constants = new Map<string, OnnxConstant>();
  readonly #nodes = new Map<string, OnnxNode>();
  /** Names of nodes' outputs that became the model's. */
  readonly #renamed = new Map<string, string>();
  readonly #produced = new Set<string>();

  constructor(inputs: readonly OnnxValue[], provider: OnnxProvider) {
    this.#inputs = inputs;
    this.provider = provider;
  }

  node(
    operator: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): string {
    return this.nodes(operator, inputs, { outputs: 1, attributes })[0];
  }

  nodes(
    operator: string,
    inputs: readonly string[],
    options: {
      readonly outputs: number;
      readonly domain?: string;
      readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
    },
  ): readonly string[] {
    const { domain = "", attributes = {} } = options;
    const key = JSON.stringify([operator, domain, inputs, attributes, options.outputs]);
    let node = this.#nodes.get(key);
    if (!node) {
      const name = `n${this.#nodes.size}`;
      const outputs = Array.from(
        { length: options.outputs },
        (_, index) => index === 0 ? name : `${name}.${index}`,
      );
      node = { operator, domain, inputs, outputs, attributes };
      this.#nodes.set(key, node);
      for (const output of outputs) this.#produced.add(output);
    }
    return node.outputs;
  }

  dimension(dimension: Dimension): string {
    if (typeof dimension === "number") return this.int64([dimension]);
    for (const { name, shape } of this.#inputs) {
      const axis = shape.indexOf(dimension);
      if (axis < 0) continue;
      return this.node("Shape", [name], { start: { int: axis }, end: { int: axis + 1 } });
    }
    throw new TypeError(`Cannot lower graph: no input has a dimension ${dimension}`);
  }

  float(values: number | readonly number[], shape?: readonly number[]): string {
    return this.#constant("f32", values, shape, (numbers) => Float32Array.from(numbers));
  }

  double(values: number | readonly number[], shape?: readonly number[]): string {
    return this.#constant("f64", values, shape, (numbers) => Float64Array.from(numbers));
  }

  int64(values: number | readonly number[]): string {
    return this.#constant(
      "i64",
      values,
      undefined,
      (numbers) => BigInt64Array.from(numbers, BigInt),
    );
  }

  /** Makes `name` an output of the model. */
  output(name: string, source: string): void {
    const final = this.#produced.has(source) && !this.#renamed.has(source)
      ? source
      // Once for each output: a graph may return an input, or one value twice.
      : this.nodes("Identity", [source], { outputs: 1, attributes: { to: { text: name } } })[0];
    this.#renamed.set(final, outputName(name));
  }

  finish(): { readonly constants: readonly OnnxConstant[]; readonly nodes: readonly OnnxNode[] } {
    const rename = (name: string) => this.#renamed.get(name) ?? name;
    const nodes = [...this.#nodes.values()].map((node) => ({
      ...node,
      inputs: node.inputs.map(rename),
      outputs: node.outputs.map(rename),
      attributes: node.operator === "Identity" ? {} : node.attributes,
    }));
    return { constants: [...this.#constants.values()], nodes };
  }

  #constant(
    type: keyof typeof ONNX_TYPE,
    values: number | readonly number[],
    shape: readonly number[] | undefined,
    pack: (numbers: readonly number[]) => ArrayBufferView,
  ): string {
    const numbers = typeof values === "number" ? [values] : values;
    const dimensions = shape ?? (typeof values === "number" ? [] : [numbers.length]);
    // Not JSON, which knows no infinities.
    const key = `${type} [${dimensions}] ${numbers.join()}`;
    let constant = this.#constants.get(key);
    if (!constant) {
      const { buffer, byteOffset, byteLength } = pack(numbers);
      constant = {
        name: `c${this.#constants.size}`,
        type: ONNX_TYPE[type],
        shape: dimensions,
        bytes: new Uint8Array(buffer, byteOffset, byteLength),
      };
      this.#constants.set(key, constant);
    }
    return constant.name;
  }
}
