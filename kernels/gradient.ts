/**
 * Turns a graph into a forward and a backward graph. It writes ops and knows
 * no numbers; the rules themselves stand in the rows of the ops.
 *
 * Forward yields, besides its own outputs, what backward reads; nothing is
 * computed twice, and inputs of the graph are never saved.
 */

import { type Graph, GraphBuilder, liveNodes, type Node, type Output, type Value } from "./graph.ts";
import type { GradientWriter, OpRow } from "./op.ts";
import { OPS } from "./ops.ts";

/** What to differentiate by what. */
export interface DifferentiateOptions {
  /** Outputs whose upstream gradient backward takes, as input `<output>.gradient`. */
  readonly outputs: readonly string[];
  /** Inputs whose gradient backward returns, as output `<input>.gradient`. */
  readonly withRespectTo?: readonly string[];
  /** Inputs whose gradient backward adds to its input `<input>.gradientSum`, in place. */
  readonly accumulate?: readonly string[];
}

/** A graph and its gradient. */
export interface Differentiated {
  /** The graph, with the outputs named in `saved` besides its own. */
  readonly forward: Graph;
  /** Inputs: upstream gradients, `saved`, and those of forward's inputs that it reads. */
  readonly backward: Graph;
  /** Names of the tensors that go from forward to backward, all beginning with `saved:`. */
  readonly saved: readonly string[];
}

/**
 * Reverse-mode differentiation of a whole graph.
 *
 * The names of saved tensors depend on the graph alone, so that the backward
 * graphs of several calls with fewer wishes can share one forward graph.
 *
 * @throws {TypeError} if a name is unknown, an input doesn't influence the outputs,
 *   or an op on the way has no gradient.
 */
export function differentiate(graph: Graph, options: DifferentiateOptions): Differentiated {
  const withRespectTo = options.withRespectTo ?? [];
  const accumulate = options.accumulate ?? [];
  const targets = [...withRespectTo, ...accumulate].map((name) => inputNamed(graph, name));
  if (targets.length === 0) throw new TypeError("Cannot differentiate: no input is named");
  const influenced = descendants(graph, targets);

  const builder = new GraphBuilder();
  const gradients = new Map<Value, Value>();
  const imported = new Map<Value, Value>();
  const forwardValues = new Set<Value>([
    ...graph.inputs,
    ...graph.nodes.flatMap((node) => node.outputs),
  ]);

  /** The backward graph's input for a value that forward knows. */
  const importValue = (value: Value): Value => {
    if (!forwardValues.has(value)) return value;
    let input = imported.get(value);
    if (!input) {
      const name = graph.inputs.includes(value) ? value.name : `saved:${value.name}`;
      input = builder.input(name, value.dataType, value.shape);
      imported.set(value, input);
    }
    return input;
  };
  const writer: GradientWriter = {
    op: (name, inputs, attributes) => builder.append(name, inputs.map(importValue), attributes),
  };
  const addGradient = (value: Value, gradient: Value): void => {
    const known = gradients.get(value);
    gradients.set(value, known ? builder.op("add", [known, gradient])[0] : gradient);
  };

  for (const name of options.outputs) {
    const output = graph.outputs.find((candidate) => candidate.name === name);
    if (!output || output.updates !== undefined) {
      throw new TypeError(`Cannot differentiate: no output is named ${name}`);
    }
    if (output.value.dataType !== "f32") {
      throw new TypeError(`Cannot differentiate ${name}: it is ${output.value.dataType}`);
    }
    addGradient(output.value, builder.input(`${name}.gradient`, "f32", output.value.shape));
  }

  for (const node of graph.nodes.toReversed()) {
    if (!node.inputs.some((value) => influenced.has(value))) continue;
    const upstream = upstreamOf(node, gradients);
    if (!upstream) continue;
    const row: OpRow = OPS[node.op];
    if (!row.gradient) throw new TypeError(`Cannot differentiate ${node.op}: it has no gradient`);
    const found = row.gradient(writer, upstream, node.inputs, node.outputs, node.attributes);
    node.inputs.forEach((value, index) => {
      const gradient = found[index];
      if (gradient && influenced.has(value)) addGradient(value, gradient);
    });
  }

  const gradientOf = (name: string): Value =>
    gradients.get(inputNamed(graph, name)) ??
      refuse(`Cannot differentiate by ${name}: it doesn't influence ${options.outputs.join(", ")}`);
  for (const name of withRespectTo) builder.output(`${name}.gradient`, gradientOf(name));
  for (const name of accumulate) {
    const sum = builder.input(`${name}.gradientSum`, "f32", inputNamed(graph, name).shape);
    builder.update(sum.name, builder.op("accumulate", [sum, gradientOf(name)])[0]);
  }

  const backward = withoutUnusedInputs(builder.build());
  const kept = [...imported].filter(([value, input]) =>
    !graph.inputs.includes(value) && backward.inputs.includes(input)
  );
  const savedOutputs = kept.map(([value, input]): Output => ({ name: input.name, value, saved: true }));
  const outputs = [...graph.outputs, ...savedOutputs];
  return {
    forward: { inputs: graph.inputs, nodes: liveNodes(graph.nodes, outputs), outputs },
    backward,
    saved: savedOutputs.map(({ name }) => name),
  };
}

/** All values that depend on one of `roots`, and the roots. */
function descendants(graph: Graph, roots: readonly Value[]): Set<Value> {
  const found = new Set(roots);
  for (const node of graph.nodes) {
    if (node.inputs.some((value) => found.has(value))) {
      for (const value of node.outputs) found.add(value);
    }
  }
  return found;
}

/** Gradient by a node's result; `undefined` if nothing downstream asks for it. */
function upstreamOf(node: Node, gradients: ReadonlyMap<Value, Value>): Value | undefined {
  for (const value of node.outputs.slice(1)) {
    if (gradients.has(value)) {
      throw new TypeError(`Cannot differentiate ${value.name}: only a first output has a gradient`);
    }
  }
  return gradients.get(node.outputs[0]);
}

function withoutUnusedInputs(graph: Graph): Graph {
  const used = new Set([
    ...graph.nodes.flatMap((node) => node.inputs),
    ...graph.outputs.map(({ value }) => value),
  ]);
  return { ...graph, inputs: graph.inputs.filter((value) => used.has(value)) };
}

function inputNamed(graph: Graph, name: string): Value {
  return graph.inputs.find((value) => value.name === name) ??
    refuse(`Cannot differentiate by ${name}: no such input`);
}

function refuse(message: string): never {
  throw new TypeError(message);
}
