/**
 * Runs graphs with the plain loops of their rows: the truth that other devices
 * are held to, and what the simulator computes with. It takes no shortcuts.
 */

import { bind } from "../bind.ts";
import type { Device, DeviceTensor, HostTensor, NamedTensors, Program } from "../device.ts";
import type { Graph, Value } from "../graph.ts";
import type { OpRow, TypedTensor } from "../op.ts";
import { OPS } from "../ops.ts";
import { checkRowCopy, copyRows } from "../row_copy.ts";
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

  copyRows(source: DeviceTensor, destination: DeviceTensor, rows: Int32Array): Promise<void> {
    return promise(() => {
      const from = this.#store.find("Cannot copy rows of tensor", source);
      const to = this.#store.find("Cannot copy rows into tensor", destination);
      checkRowCopy(from, to, rows);
      copyRows(from.data, to, rows);
    });
  }

  free(tensor: DeviceTensor): void {
    this.#store.free(tensor);
  }

  compile(graph: Graph): Promise<Program> {
    let live = true;
    return Promise.resolve({
      run: (inputs) =>
        promise(() => {
          if (!live) throw new TypeError("Cannot run graph: its program was disposed");
          return run(graph, inputs, this.#store);
        }),
      dispose() {
        live = false;
        return Promise.resolve();
      },
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
  // Every result is a copy before the first update is written, since inputs may be results.
  const results: Record<string, DeviceTensor> = {};
  const updated = new Map<string, TypedTensor["data"]>();
  for (const { name, value, updates } of graph.outputs) {
    const tensor = tensors.get(value)!;
    if (updates === undefined) results[name] = store.copy({ dataType: value.dataType, ...tensor });
    else updated.set(updates, tensor.data.slice());
  }
  for (const [value, { data }] of given) data.set(updated.get(value.name) ?? []);
  return results;

  function tensorsOf(values: readonly Value[]): TypedTensor<"f32">[] {
    return values.map((value) => tensors.get(value)! as TypedTensor<"f32">);
  }
}

function promise<Result>(compute: () => Result): Promise<Result> {
  return new Promise((resolve) => resolve(compute()));
}
