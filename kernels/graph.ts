/**
 * What to compute: a list of ops over named tensors, in an order in which they
 * can run. Built once, compiled by a device, run many times. A graph holds no
 * numbers and knows no device.
 *
 * ```ts
 * // 1. Build. Dimensions are sizes or symbols; a run binds the symbols.
 * const builder = new GraphBuilder();
 * const hidden = builder.input("hidden", "f32", ["B", "T", 64]);
 * const gain = builder.input("norm.gain", "f32", [64]);
 * const weight = builder.input("up.weight", "f32", [128, 64]);
 * const [normed] = builder.op("rmsNorm", [hidden, gain], { epsilon: 1e-5 });
 * const [result] = builder.op("linear", [normed, weight]);
 * builder.output("result", result);
 * const graph = builder.build();
 *
 * // 2. Differentiate. `forward` also yields what `backward` needs, under the names in `saved`.
 * const { forward, backward, saved } = differentiate(graph, {
 *   outputs: ["result"],
 *   withRespectTo: ["hidden"],
 *   accumulate: ["norm.gain", "up.weight"],
 * });
 *
 * // 3. Compile, once.
 * const forwardProgram = await device.compile(forward);
 * const backwardProgram = await device.compile(backward);
 *
 * // 4. Run. `parameters` holds device tensors by input name; what a graph doesn't name is ignored.
 * const { result: activation, ...kept } = await forwardProgram.run({ ...parameters, hidden: x });
 * const { "hidden.gradient": back } = await backwardProgram.run({
 *   ...parameters, // norm.gain, up.weight
 *   ...sums, // norm.gain.gradientSum, up.weight.gradientSum: updated in place
 *   ...kept, // saved:…
 *   hidden: x,
 *   "result.gradient": upstream,
 * });
 * ```
 */

import type { DataType } from "./device.ts";
import type { InputValues, OpRow, OutputValues } from "./op.ts";
import { type OpName, OPS, type OpTable } from "./ops.ts";
import { type Dimension, formatShape, sameShape, type Shape } from "./shapes.ts";

/** A tensor of the graph, not of a run. */
export interface Value {
  /** Unique in its graph. */
  readonly name: string;
  /** Of its elements. */
  readonly dataType: DataType;
  /** Sizes, and symbols for those that each run settles. */
  readonly shape: Shape;
}

/** One op. */
export interface Node {
  /** Its row in `ops.ts`. */
  readonly op: OpName;
  /** What it reads, in the order of the row. */
  readonly inputs: readonly Value[];
  /** What it makes, in the order of the row. */
  readonly outputs: readonly Value[];
  /** Plain JSON. */
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** What a run yields under a name. */
export interface Output {
  /** Unique among the outputs. */
  readonly name: string;
  /** An input of the graph, or an output of one of its nodes. */
  readonly value: Value;
  /** If set: the value is written into this input's tensor, and not returned. */
  readonly updates?: string;
  /** If set: only other graphs read it, so that a device may keep it as roughly as what lies within a run. */
  readonly saved?: true;
}

/** What to compute. Immutable. */
export interface Graph {
  /** What every run must be given. */
  readonly inputs: readonly Value[];
  /** Each after those it reads from. */
  readonly nodes: readonly Node[];
  /** What a run returns or updates. */
  readonly outputs: readonly Output[];
}

type Inputs<Name extends OpName> = InputValues<OpTable[Name]["inputs"]>;
type Outputs<Name extends OpName> = OutputValues<OpTable[Name]["outputs"]>;
type Attributes<Name extends OpName> = Parameters<OpTable[Name]["shapes"]>[1];
// deno-lint-ignore ban-types -- asks whether every attribute is optional
type Optional<Type> = {} extends Type ? [attributes?: Type] : [attributes: Type];

/** Writes a graph, op by op, and checks shapes on the way. */
export class GraphBuilder {
  readonly #inputs: Value[] = [];
  readonly #nodes: Node[] = [];
  readonly #outputs: Output[] = [];
  readonly #values = new Set<Value>();

  /**
   * Declares an input.
   *
   * @param shape sizes, or symbols such as `"B"`: equal symbols are equal sizes in a run.
   * @throws {TypeError} if the name is taken or a size is not a positive integer.
   */
  input(name: string, dataType: DataType, shape: readonly Dimension[]): Value {
    if (this.#inputs.some((input) => input.name === name)) {
      throw new TypeError(`Cannot add input ${name}: name is taken`);
    }
    for (const dimension of shape) {
      if (typeof dimension === "string" ? dimension === "" : !isSize(dimension)) {
        throw new TypeError(`Cannot add input ${name}: shape is ${formatShape(shape)}`);
      }
    }
    const value = this.#keep({ name, dataType, shape: [...shape] });
    this.#inputs.push(value);
    return value;
  }

  /**
   * Adds one op of the table in `ops.ts`.
   *
   * @returns its outputs, in the order of its row.
   * @throws {TypeError} if types or shapes don't fit its rule.
   */
  op<Name extends OpName>(
    name: Name,
    inputs: Inputs<Name>,
    ...rest: Optional<Attributes<Name>>
  ): Outputs<Name> {
    const attributes = (rest[0] ?? {}) as Readonly<Record<string, unknown>>;
    return this.append(name, inputs as readonly Value[], attributes) as Outputs<Name>;
  }

  /** As {@link op}, for names that are known only when the program runs. */
  append(
    op: string,
    inputs: readonly Value[],
    attributes: Readonly<Record<string, unknown>> = {},
  ): readonly Value[] {
    if (!Object.hasOwn(OPS, op)) throw new TypeError(`Cannot add ${op}: no such op`);
    const row: OpRow = OPS[op as OpName];
    if (inputs.length !== row.inputs.length) {
      throw new TypeError(
        `Cannot add ${op}: ${inputs.length} inputs given, expected ${row.inputs.length}`,
      );
    }
    inputs.forEach((value, index) => {
      this.#mustOwn(op, value);
      const { name, dataType } = row.inputs[index];
      if (value.dataType !== dataType) {
        throw new TypeError(
          `Cannot add ${op}: ${name} (${value.name}) is ${value.dataType}, expected ${dataType}`,
        );
      }
    });
    const shapes = shapesOf(`Cannot add ${op}`, row, inputs.map((value) => value.shape), attributes);
    const name = `${op}#${this.#nodes.length}`;
    const outputs = row.outputs.map((output, index) =>
      this.#keep({
        name: index === 0 ? name : `${name}.${output}`,
        dataType: "f32",
        shape: shapes[index],
      })
    );
    this.#nodes.push({ op: op as OpName, inputs: [...inputs], outputs, attributes });
    return outputs;
  }

  /** Names a value that a run returns. */
  output(name: string, value: Value): void {
    this.#mustOwn(`output ${name}`, value);
    this.#mustBeFree(name);
    this.#outputs.push({ name, value });
  }

  /**
   * Writes a value into an input's tensor at the end of each run.
   *
   * @throws {TypeError} if there is no such input, it is updated already, or shape or type differ.
   */
  update(inputName: string, value: Value): void {
    const subject = `update of ${inputName}`;
    this.#mustOwn(subject, value);
    const input = this.#inputs.find(({ name }) => name === inputName);
    if (!input) throw new TypeError(`Cannot add ${subject}: no such input`);
    if (input.dataType !== value.dataType || !sameShape(input.shape, value.shape)) {
      throw new TypeError(
        `Cannot add ${subject}: value is ${value.dataType} ${formatShape(value.shape)}, ` +
          `expected ${input.dataType} ${formatShape(input.shape)}`,
      );
    }
    if (this.#outputs.some(({ updates }) => updates === inputName)) {
      throw new TypeError(`Cannot add ${subject}: it is updated already`);
    }
    const name = `${inputName}.updated`;
    this.#mustBeFree(name);
    this.#outputs.push({ name, value, updates: inputName });
  }

  /** The graph so far, without ops that no output needs. */
  build(): Graph {
    if (this.#outputs.length === 0) throw new TypeError("Cannot build graph: it has no output");
    const outputs = [...this.#outputs];
    return { inputs: [...this.#inputs], nodes: liveNodes(this.#nodes, outputs), outputs };
  }

  #keep(value: Value): Value {
    this.#values.add(value);
    return value;
  }

  #mustOwn(subject: string, value: Value): void {
    if (!this.#values.has(value)) {
      throw new TypeError(`Cannot add ${subject}: ${value.name} is of another graph`);
    }
  }

  #mustBeFree(name: string): void {
    if (this.#outputs.some((output) => output.name === name)) {
      throw new TypeError(`Cannot add output ${name}: name is taken`);
    }
  }
}

/**
 * Runs an op's shape rule, on symbols or on numbers.
 *
 * @param action begins the message, as in `Cannot add linear`.
 * @throws {TypeError} if the shapes don't fit.
 */
export function shapesOf(
  action: string,
  row: OpRow,
  inputs: readonly Shape[],
  attributes: Readonly<Record<string, unknown>>,
): readonly Shape[] {
  try {
    return row.shapes(inputs, attributes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new TypeError(`${action}: ${error.message}`);
  }
}

/** The nodes that some output needs, in their order. */
export function liveNodes(
  nodes: readonly Node[],
  outputs: readonly { readonly value: Value }[],
): readonly Node[] {
  const needed = new Set(outputs.map(({ value }) => value));
  const live: Node[] = [];
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((value) => needed.has(value))) continue;
    for (const value of node.inputs) needed.add(value);
    live.push(node);
  }
  return live.reverse();
}

function isSize(size: number): boolean {
  return Number.isSafeInteger(size) && size > 0;
}
