/**
 * A graph at given sizes, as dispatches over numbered places: which kernel runs
 * after which, and where each value lies. Places are settled here once, by who
 * reads what last; buffers are put to them in each run. It sees no GPU.
 */

import type { BoundShapes } from "../bind.ts";
import type { Graph, Value } from "../graph.ts";
import type { OpRow } from "../op.ts";
import { type OpName, OPS } from "../ops.ts";
import { elementCount } from "../shapes.ts";
import { BUFFER_BYTES_STEP } from "./buffers.ts";
import { elementwise } from "./elementwise.ts";
import type { Dispatch, Storage, WgslImage, WgslLimits, WgslTensor, WgslWriter } from "./writer.ts";

/** Where a tensor of a plan lies. */
export interface Place {
  /**
   * - `input`: the tensor given for the graph's input of this index.
   * - `shadow`: a copy of that tensor in 16 bits.
   * - `slot`: space that is used again within the run and by other runs.
   * - `fresh`: a buffer that outlives the run.
   */
  readonly kind: "input" | "shadow" | "slot" | "fresh";
  readonly index: number;
}

/** One kernel with the places it works on. */
export interface Step {
  /** Op of the graph, or what else is done. */
  readonly op: OpName | "cast";
  readonly dispatch: Dispatch;
  readonly places: readonly Place[];
  /** Bytes that each binding shows, in the order of `places`. */
  readonly bytes: readonly number[];
  /** The plan's images that are bound behind them. */
  readonly images: readonly number[];
}

/** A buffer that a run yields. */
export interface Fresh extends WgslTensor {
  /** Index of the graph's input whose tensor leaves its buffer to this: it is updated, and not read any more. */
  readonly takesOver?: number;
}

/** What lies at a place at the end, put into a buffer of its own. */
export interface Copy {
  readonly from: Place;
  /** Index of a fresh buffer. */
  readonly to: number;
  readonly bytes: number;
}

/** A graph, ready to be put on buffers. */
export interface Plan {
  /** What fills each shadow that the steps read, by the index of its input. */
  readonly casts: ReadonlyMap<number, Step>;
  readonly steps: readonly Step[];
  /** Bytes of each slot, the largest first. */
  readonly slots: readonly number[];
  /** Texels of each image, the largest first. They are used again as slots are. */
  readonly images: readonly number[];
  readonly fresh: readonly Fresh[];
  /** After the steps. */
  readonly copies: readonly Copy[];
  /** Index of the fresh buffer for each output of the graph, in their order. */
  readonly outputs: readonly number[];
}

/** What a plan depends on, besides its graph. */
export interface PlanOptions {
  readonly shapes: BoundShapes;
  /** How the elements of each input lie, in the order of the graph's inputs. */
  readonly inputs: readonly Storage[];
  /** What nodes make that is to lie in 16 bits; by default nothing. */
  readonly narrow?: ReadonlySet<Value>;
  /** Inputs of which nodes are to read a copy in 16 bits; by default none. */
  readonly shadowed?: ReadonlySet<Value>;
  readonly limits: WgslLimits;
}

/** Bytes of a tensor's elements. */
export function bytesOf(storage: Storage, shape: readonly number[]): number {
  return elementCount(shape) * (storage === "f16" ? 2 : 4);
}

/** Writes the plan of a graph. */
export function planGraph(graph: Graph, options: PlanOptions): Plan {
  return new Planner(graph, options).plan();
}

/** Space while it is being shared out: bytes of a slot, or texels of an image. */
interface Room {
  size: number;
}

/** Space of one kind, used again as soon as nobody needs what it holds. */
class Rooms {
  readonly #all: Room[] = [];
  readonly #free: Room[] = [];

  /** Sizes of all rooms, the largest first. */
  get sizes(): readonly number[] {
    return this.#ordered().map(({ size }) => size);
  }

  /** Index of a room among {@link sizes}. */
  indexOf(room: Room): number {
    return this.#ordered().indexOf(room);
  }

  /** The smallest free room that suffices; else the largest, made larger; else a new one. */
  take(size: number): Room {
    const fit = this.#free
      .toSorted((left, right) => left.size - right.size)
      .find((room, index, { length }) => room.size >= size || index === length - 1);
    if (!fit) {
      const room: Room = { size };
      this.#all.push(room);
      return room;
    }
    this.#free.splice(this.#free.indexOf(fit), 1);
    fit.size = Math.max(fit.size, size);
    return fit;
  }

  /** Nobody needs what these hold. */
  give(...rooms: readonly Room[]): void {
    this.#free.push(...rooms);
  }

  #ordered(): readonly Room[] {
    return this.#all.toSorted((left, right) => right.size - left.size);
  }
}

/** A step before its tensors' places are numbered. */
type Unplaced = Pick<Step, "op" | "dispatch">;

class Planner {
  readonly #graph: Graph;
  readonly #options: PlanOptions;
  /** As nodes read and make them. */
  readonly #tensors = new Map<Value, WgslTensor>();
  /** As they are given. */
  readonly #inputs = new Map<Value, WgslTensor>();
  readonly #places = new Map<WgslTensor, Place | Room>();
  readonly #slots = new Rooms();
  readonly #imageRooms = new Map<WgslImage, Room>();
  readonly #images = new Rooms();
  readonly #fresh: Fresh[] = [];
  readonly #copies: (Omit<Copy, "from"> & { readonly from: WgslTensor })[] = [];
  readonly #outputs: number[] = [];
  /** Index of the last node that reads a value; past the end if a copy does. */
  readonly #lastReads: ReadonlyMap<Value, number>;
  /** Updated inputs that nobody reads any more and whose buffers are still to be had. */
  readonly #left: number[] = [];

  constructor(graph: Graph, options: PlanOptions) {
    this.#graph = graph;
    this.#options = options;
    this.#lastReads = lastReads(graph);
  }

  plan(): Plan {
    const { inputs, nodes } = this.#graph;
    const { shapes, inputs: storages, limits, shadowed } = this.#options;
    const casts = new Map<number, Unplaced>();
    inputs.forEach((value, index) => {
      const tensor: WgslTensor = { storage: storages[index], shape: shapes.get(value)! };
      this.#inputs.set(value, tensor);
      this.#tensors.set(value, tensor);
      this.#places.set(tensor, { kind: "input", index });
      if (!this.#lastReads.has(value)) this.#leave(value);
      if (tensor.storage !== "f32" || !shadowed?.has(value)) return;
      const shadow: WgslTensor = { storage: "f16", shape: tensor.shape };
      this.#tensors.set(value, shadow);
      this.#places.set(shadow, { kind: "shadow", index });
      casts.set(index, { op: "cast", dispatch: castTo(limits, tensor, shadow) });
    });

    const steps: Unplaced[] = [];
    nodes.forEach((node, index) => {
      for (const value of node.outputs) this.#placeOutput(value);
      const scratch: Room[] = [];
      const images: Room[] = [];
      const writer: WgslWriter = {
        limits,
        dispatch: (dispatch) => void steps.push({ op: node.op, dispatch }),
        scratch: (storage, shape) => {
          const tensor: WgslTensor = { storage, shape };
          const slot = this.#slots.take(bytesOf(storage, shape));
          scratch.push(slot);
          this.#places.set(tensor, slot);
          return tensor;
        },
        image: (texels) => {
          const image: WgslImage = { texels };
          const room = this.#images.take(texels);
          images.push(room);
          this.#imageRooms.set(image, room);
          return image;
        },
      };
      const row: OpRow = OPS[node.op];
      const tensorsOf = (values: readonly Value[]) => values.map((value) => this.#tensors.get(value)!);
      row.webgpu(writer, tensorsOf(node.inputs), tensorsOf(node.outputs), node.attributes);
      this.#slots.give(...scratch);
      this.#images.give(...images);
      for (const value of new Set([...node.inputs, ...node.outputs])) {
        if ((this.#lastReads.get(value) ?? -1) <= index) this.#leave(value);
      }
    });

    return this.#finish(casts, steps);
  }

  /** Finds a place for what a node makes: the buffer of an output, or space that is used again. */
  #placeOutput(value: Value): void {
    const { shapes, narrow } = this.#options;
    const tensor: WgslTensor = { storage: narrow?.has(value) ? "f16" : "f32", shape: shapes.get(value)! };
    this.#tensors.set(value, tensor);
    const output = this.#graph.outputs.findIndex((output) => output.value === value);
    if (output < 0) {
      this.#places.set(tensor, this.#slots.take(bytesOf(tensor.storage, tensor.shape)));
      return;
    }
    const index = this.#addFresh(tensor);
    this.#places.set(tensor, { kind: "fresh", index });
    this.#outputs[output] = index;
  }

  #addFresh(tensor: WgslTensor): number {
    const bytes = bytesOf(tensor.storage, tensor.shape);
    const left = this.#left.findIndex((index) => {
      const value = this.#graph.inputs[index];
      return bytesOf(this.#options.inputs[index], this.#options.shapes.get(value)!) === bytes;
    });
    const [takesOver] = left < 0 ? [] : this.#left.splice(left, 1);
    return this.#fresh.push(takesOver === undefined ? tensor : { ...tensor, takesOver }) - 1;
  }

  /** Nobody reads a value any more. */
  #leave(value: Value): void {
    const place = this.#places.get(this.#tensors.get(value)!)!;
    if (!("kind" in place)) return this.#slots.give(place);
    const updated = this.#graph.outputs.some(({ updates }) => updates === value.name);
    if (place.kind === "input" && updated) this.#left.push(place.index);
  }

  #finish(casts: ReadonlyMap<number, Unplaced>, steps: readonly Unplaced[]): Plan {
    this.#graph.outputs.forEach(({ value }, output) => {
      if (this.#outputs[output] !== undefined) return;
      // An input, or what another output yields already.
      const from = this.#inputs.get(value) ?? this.#tensors.get(value)!;
      const to = this.#fresh.push({ storage: from.storage, shape: from.shape }) - 1;
      this.#outputs[output] = to;
      this.#copies.push({ from, to, bytes: bytesOf(from.storage, from.shape) });
    });
    const placeOf = (tensor: WgslTensor): Place => {
      const place = this.#places.get(tensor);
      if (!place) throw new TypeError("Cannot plan dispatch: it binds a tensor of another op");
      return "kind" in place ? place : { kind: "slot", index: this.#slots.indexOf(place) };
    };
    const placed = ({ op, dispatch }: Unplaced): Step => ({
      op,
      dispatch,
      places: dispatch.bindings.map(placeOf),
      bytes: dispatch.bindings.map(({ storage, shape }) => wholeVectors(bytesOf(storage, shape))),
      images: (dispatch.images ?? []).map((image) => this.#images.indexOf(this.#imageRooms.get(image)!)),
    });
    return {
      casts: new Map([...casts].map(([input, cast]) => [input, placed(cast)])),
      steps: steps.map(placed),
      slots: this.#slots.sizes,
      images: this.#images.sizes,
      fresh: this.#fresh,
      copies: this.#copies.map(({ from, to, bytes }) => ({ from: placeOf(from), to, bytes })),
      outputs: this.#outputs,
    };
  }
}

function castTo(limits: WgslLimits, x: WgslTensor, y: WgslTensor): Dispatch {
  return elementwise(limits, y, {
    source: [new URL("./cast.wgsl", import.meta.url)],
    types: { X: x.storage, Y: y.storage },
    bindings: [x, y],
  });
}

/** A binding ends with its last vector of four, as its buffer does. */
function wholeVectors(bytes: number): number {
  return Math.ceil(bytes / BUFFER_BYTES_STEP) * BUFFER_BYTES_STEP;
}

function lastReads(graph: Graph): Map<Value, number> {
  const last = new Map<Value, number>();
  graph.nodes.forEach(({ inputs }, index) => {
    for (const value of inputs) last.set(value, index);
  });
  // What is copied at the end must stay: inputs, and all outputs of one value but the first.
  const yielded = new Set<Value>(graph.inputs);
  for (const { value } of graph.outputs) {
    if (yielded.has(value)) last.set(value, graph.nodes.length);
    yielded.add(value);
  }
  return last;
}
