/**
 * Runs graphs with the plain loops of their rows: the truth that other devices
 * are held to, and what the simulator computes with. It takes no shortcuts.
 */

import { bind } from "../bind.ts";
import type { Device, DeviceTensor, HostTensor, NamedTensors, Program } from "../device.ts";
import type { Graph, Value } from "../graph.ts";
import type { OpRow, TypedTensor } from "../op.ts";
import { OPS } from "../ops.ts";
import { elementCount } from "../shapes.ts";
import { TensorStore } from "../tensor_store.ts";

/** The device of plain loops. Everything happens within the call that asks for it. */
export class ReferenceDevice implements Device {
  readonly name = "reference";
  readonly #store = new TensorStore("reference", 0);

  upload(tensor: HostTensor): DeviceTensor {
    return this.#store.copy(tensor);
  }

  download(tensor: DeviceTensor): Promise<HostTensor> {
    return promise(() => {
      const { dataType, shape, data } = this.#store.find("Cannot download tensor", tensor);
      return { dataType, shape, data: data.slice() };
    });
  }

  write(tensor: DeviceTensor, data: Float32Array | Int32Array): void {
    this.#store.findWritable(tensor, data).data.set(data);
  }

  free(tensor: DeviceTensor): void {
    this.#store.free(tensor);
  }

  compile(graph: Graph): Promise<Program> {
    return Promise.resolve({
      run: (inputs) => promise(() => run(graph, inputs, this.#store)),
      dispose: () => Promise.resolve(),
    });
  }

  bytesInUse(): number {
    return this.#store.bytesInUse;
  }

  close(): Promise<void> {
    this.#store.clear();
    return Promise.resolve();
  }
}

function run(
  graph: Graph,
  inputs: NamedTensors,
  store: TensorStore,
): Record<string, DeviceTensor> {
  const given = store.findInputs(graph, inputs);
  const shapes = bind(graph, given);
  const tensors = new Map<Value, TypedTensor>(given);
  for (const { op, inputs, outputs, attributes } of graph.nodes) {
    for (const value of outputs) {
      const shape = shapes.get(value)!;
      tensors.set(value, { shape, data: new Float32Array(elementCount(shape)) });
    }
    const row: OpRow = OPS[op];
    row.reference(tensorsOf(inputs), tensorsOf(outputs), attributes);
  }
  // Updates come last: every op has read its inputs as they were.
  const results: Record<string, DeviceTensor> = {};
  for (const { name, value, updates } of graph.outputs) {
    if (updates !== undefined) continue;
    results[name] = store.copy({ dataType: value.dataType, ...tensors.get(value)! });
  }
  for (const { value, updates } of graph.outputs) {
    if (updates === undefined) continue;
    const target = graph.inputs.find(({ name }) => name === updates)!;
    (tensors.get(target)!.data as Float32Array).set(tensors.get(value)!.data);
  }
  return results;

  function tensorsOf(values: readonly Value[]): TypedTensor<"f32">[] {
    return values.map((value) => tensors.get(value)! as TypedTensor<"f32">);
  }
}

function promise<Result>(compute: () => Result): Promise<Result> {
  return new Promise((resolve) => resolve(compute()));
}
