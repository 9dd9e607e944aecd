/**
 * What is measured of a device's kernels: each op alone, forward and backward,
 * in sizes of one transformer, and the operations and bytes that its
 * mathematics needs. What a kernel does on top of that only costs.
 */

import {
  type DataType,
  type DeviceTensor,
  differentiate,
  elementCount,
  type Graph,
  GraphBuilder,
  type OpName,
  type Scope,
} from "../kernels/mod.ts";
import type { Device, Precision } from "../kernels/device.ts";

/** Sizes of a transformer; `batch × length` tokens at once. */
export interface KernelSizes {
  readonly batch: number;
  readonly length: number;
  readonly width: number;
  readonly heads: number;
  readonly hidden: number;
  readonly vocabulary: number;
}

/** What an op or its gradient needs at least. */
export interface Need {
  /** Additions and multiplications. */
  readonly operations: number;
  /** Tensor elements read and written, each once. */
  readonly elements: number;
}

/** One op alone, and what is asked of it. */
export interface KernelCase {
  readonly op: OpName;
  /** What distinguishes it from other cases of the op. */
  readonly called: string;
  /** Whether its time should go into arithmetic; otherwise it goes into memory. */
  readonly computes: boolean;
  readonly inputs: readonly CaseInput[];
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly forward: Need;
  /** Of the gradients by all its floating-point inputs together; missing where there is nothing new in it. */
  readonly backward?: Need;
}

/** An input of a case. Integers count up from 0, and start again below `below`. */
export interface CaseInput {
  readonly dataType: DataType;
  readonly shape: readonly number[];
  /** Whether it is the same for every micro-batch. Other tensors lie in 16 bits if the run's activations do. */
  readonly lasting?: boolean;
  readonly below?: number;
}

/** A transformer whose largest product is about a `size`³ one. */
export function sizesFor(size: number): KernelSizes {
  const width = size / 2;
  const length = Math.min(1024, size / 2);
  return {
    batch: size / length,
    length,
    width,
    heads: Math.max(1, width / 64),
    hidden: Math.round(width * 2.75 / 32) * 32,
    vocabulary: size * 4,
  };
}

/** Every op that a step spends time on. */
export function kernelCases(sizes: KernelSizes): readonly KernelCase[] {
  const { batch, length, width, heads, hidden, vocabulary } = sizes;
  const tokens = batch * length;
  const hiddenState = floats(batch, length, width);
  const state = tokens * width;
  const inner = tokens * hidden;
  const scored = tokens * vocabulary;
  /** Of a product of all queries with all keys that they may see. */
  const pairs = tokens * (length + 1) * width;
  const attributes = { heads, keyValueHeads: heads, headWidth: width / heads };
  const linear = (rows: number) => 2 * rows * width * hidden;
  return [
    {
      op: "add",
      called: `${tokens} × ${width}`,
      computes: false,
      inputs: [hiddenState, hiddenState],
      forward: { operations: state, elements: 3 * state },
    },
    {
      op: "linear",
      called: `${tokens} × ${width} × ${hidden}`,
      computes: true,
      inputs: [hiddenState, weights(hidden, width)],
      forward: { operations: linear(tokens), elements: state + inner + width * hidden },
      backward: { operations: 2 * linear(tokens), elements: 2 * (state + inner + width * hidden) },
    },
    {
      op: "linear",
      called: `of one token, ${width} × ${hidden}`,
      computes: false,
      inputs: [floats(1, 1, width), weights(hidden, width)],
      forward: { operations: linear(1), elements: width + hidden + width * hidden },
    },
    {
      op: "attention",
      called: `${heads} heads, T ${length}, ${tokens} tokens`,
      computes: true,
      inputs: [hiddenState, hiddenState, hiddenState],
      attributes,
      forward: { operations: 2 * pairs, elements: 4 * state },
      backward: { operations: 4 * pairs, elements: 8 * state },
    },
    {
      op: "rmsNorm",
      called: `${tokens} × ${width}`,
      computes: false,
      inputs: [hiddenState, weights(width)],
      attributes: { epsilon: 1e-5 },
      forward: { operations: 4 * state, elements: 2 * state },
      backward: { operations: 8 * state, elements: 3 * state },
    },
    {
      op: "rope",
      called: `${tokens} × ${width}`,
      computes: false,
      inputs: [hiddenState, { ...integers(length, length), lasting: true }],
      attributes: { heads, headWidth: width / heads, theta: 10_000 },
      forward: { operations: 3 * state, elements: 2 * state },
    },
    {
      op: "swiglu",
      called: `${tokens} × ${hidden}`,
      computes: false,
      inputs: [floats(batch, length, hidden), floats(batch, length, hidden)],
      forward: { operations: 5 * inner, elements: 3 * inner },
      backward: { operations: 11 * inner, elements: 5 * inner },
    },
    {
      op: "embedding",
      called: `${tokens} of ${vocabulary} × ${width}`,
      computes: false,
      inputs: [integers(vocabulary, batch, length), weights(vocabulary, width)],
      forward: { operations: 0, elements: 2 * state },
      backward: { operations: state, elements: state + vocabulary * width },
    },
    {
      op: "crossEntropy",
      called: `${tokens} × ${vocabulary}`,
      computes: false,
      inputs: [floats(batch, length, vocabulary), integers(vocabulary, batch, length)],
      forward: { operations: 4 * scored, elements: scored },
      backward: { operations: 3 * scored, elements: 2 * scored },
    },
    {
      op: "adamw",
      called: `${hidden} × ${width}`,
      computes: false,
      inputs: [
        ...Array.from({ length: 4 }, () => weights(hidden, width)),
        ...Array.from({ length: 4 }, () => weights(1)),
      ],
      attributes: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
      forward: { operations: 14 * width * hidden, elements: 7 * width * hidden },
    },
  ];
}

/** A case on a device, ready to run again and again. */
export interface PreparedCase {
  forward(): Promise<void>;
  backward?: () => Promise<void>;
}

/** Compiles a case, and puts its inputs onto the device. The scope owns them. */
export async function prepareCase(
  device: Device,
  scope: Scope,
  one: KernelCase,
  precision: Precision,
): Promise<PreparedCase> {
  const { inputs, backward: wanted } = one;
  const graph = caseGraph(one);
  const given: Record<string, DeviceTensor> = {};
  for (const [index, input] of inputs.entries()) {
    given[`x${index}`] = await fill(device, scope, input, precision);
  }
  const forward = await runnerOf(device, graph, precision);
  if (!wanted) return { forward: () => forward(given) };

  const parts = differentiate(graph, {
    outputs: ["y0"],
    withRespectTo: inputs.flatMap(({ dataType }, index) => dataType === "f32" ? [`x${index}`] : []),
  });
  const keeping = await device.compile(parts.forward, { precision });
  const kept = scope.adoptAll(await keeping.run(given));
  const { shape } = kept.y0;
  const lasting = shape.length === 1;
  const upstream = await fill(device, scope, { dataType: "f32", shape, lasting }, precision);
  const backward = await runnerOf(device, parts.backward, precision);
  return {
    forward: () => forward(given),
    backward: () => backward({ ...given, ...kept, "y0.gradient": upstream }),
  };
}

/** A case as a graph: inputs `x0`, `x1`, …, outputs `y0`, `y1`, …. */
function caseGraph({ op, inputs, attributes }: KernelCase): Graph {
  const builder = new GraphBuilder();
  const values = inputs.map(({ dataType, shape, lasting }, index) =>
    builder.input(`x${index}`, dataType, lasting ? shape : ["B", ...shape.slice(1)])
  );
  // A case has what its op asks for; the builder checks it as it runs.
  builder.op(op, values as never, attributes as never)
    .forEach((value, index) => builder.output(`y${index}`, value));
  return builder.build();
}

async function runnerOf(device: Device, graph: Graph, precision: Precision) {
  const program = await device.compile(withinStep(graph), { precision });
  const names = graph.inputs.map(({ name }) => name);
  return async (tensors: Readonly<Record<string, DeviceTensor>>) => {
    const results = await program.run(Object.fromEntries(names.map((name) => [name, tensors[name]])));
    for (const tensor of Object.values(results)) device.free(tensor);
  };
}

/** What comes out stays within a step, and may lie in 16 bits. */
function withinStep(graph: Graph): Graph {
  return { ...graph, outputs: graph.outputs.map((output) => ({ ...output, saved: true })) };
}

/** Small numbers, all different, none special, as a step of this precision would keep them. */
async function fill(
  device: Device,
  scope: Scope,
  { dataType, shape, lasting, below = 1 }: CaseInput,
  precision: Precision,
): Promise<DeviceTensor> {
  const count = { length: elementCount(shape) };
  const data = dataType === "i32"
    ? Int32Array.from(count, (_, i) => i % below)
    : Float32Array.from(count, (_, i) => (i * 37 % 1009 + 1) / 8192);
  const tensor = scope.adopt(device.upload({ dataType, shape, data }));
  if (dataType === "i32" || lasting || precision === "f32") return tensor;
  const builder = new GraphBuilder();
  const x = builder.input("x", "f32", ["B", ...shape.slice(1)]);
  builder.output("y", builder.op("add", [x, x])[0]);
  const program = await device.compile(withinStep(builder.build()), { precision });
  return scope.adopt((await program.run({ x: tensor })).y);
}

function floats(...shape: number[]): CaseInput {
  return { dataType: "f32", shape };
}

function weights(...shape: number[]): CaseInput {
  return { dataType: "f32", shape, lasting: true };
}

function integers(below: number, ...shape: number[]): CaseInput {
  return { dataType: "i32", shape, below };
}
