/** Small runs, states and disks for the tests of this room. */

import type { HostTensor } from "../../kernels/mod.ts";
import { randomFrom } from "../../kernels/testing/random.ts";
import { Dataset, type Manifest, parseManifest, type TokenBatch } from "../../run/mod.ts";
import type { CompiledStage } from "../compiled_stage.ts";
import type { Parameter, StageLayout } from "../parameters.ts";
import type { Disk } from "../snapshot.ts";
import type { StateManifest } from "../stage.ts";
import { bytesOf, SECTIONS, stateBytes, StateHasher, stateHeader, stateOffset } from "../state.ts";

/** A run that plain loops finish at once: three layers, grouped keys, V = 13. */
export function tinyManifest(changes: Partial<Manifest> = {}): Manifest {
  const manifest = parseManifest(JSON.stringify({
    version: 1,
    name: "tiny",
    model: { vocabulary: 256, width: 12, layers: 3, heads: 2, keyValueHeads: 1, hidden: 10 },
    stages: 1,
    sequenceLength: 6,
    sequencesPerMicroBatch: 2,
    microBatchesPerStep: 2,
    steps: 4,
    optimizer: { learningRate: 0.01, warmupSteps: 1 },
    seed: 7,
  }));
  // Smaller than a manifest of bytes may be, so that the head does not outweigh everything.
  return { ...manifest, model: { ...manifest.model, vocabulary: 13 }, ...changes };
}

/** A text in which the next token follows from the last two. */
export function tinyDataset(manifest: Manifest): Dataset {
  const { vocabulary } = manifest.model;
  const tokens = new Int32Array(400);
  tokens[1] = 1;
  for (let index = 2; index < tokens.length; index++) {
    tokens[index] = (tokens[index - 1] + 2 * tokens[index - 2] + 1) % vocabulary;
  }
  return new Dataset(manifest, tokens);
}

/** Tokens and targets of a batch, as a stage takes them. */
export function tensorsOf(
  manifest: Manifest,
  batch: TokenBatch,
): { readonly tokens: HostTensor; readonly targets: HostTensor } {
  const shape = [manifest.sequencesPerMicroBatch, manifest.sequenceLength];
  return {
    tokens: { dataType: "i32", shape, data: batch.tokens },
    targets: { dataType: "i32", shape, data: batch.targets },
  };
}

/** A tensor of f32, uniform in −1 … 1. */
export function randomTensor(seed: number, ...shape: number[]): HostTensor {
  const random = randomFrom(seed);
  const length = shape.reduce((product, size) => product * size, 1);
  return { dataType: "f32", shape, data: Float32Array.from({ length }, () => 2 * random() - 1) };
}

/** Parameters far from their first values, so that every gradient counts; moments are zero. */
export async function scatter(stage: CompiledStage): Promise<ReadonlyMap<string, Float32Array>> {
  const values = new Map(stage.layout.parameters.map((parameter) => [parameter.name, scattered(parameter)]));
  const { manifest, bytes } = stateOf(stage.layout, 0, (parameter) => values.get(parameter.name)!);
  await stage.importState(manifest, bytes);
  return values;
}

/** Depends on the name alone, so that every cut of a model gets the same values. */
function scattered({ name, size, shape }: Parameter): Float32Array {
  const random = randomFrom(
    [...name].reduce((seed, letter) => Math.imul(seed, 31) + letter.codePointAt(0)!, 7),
  );
  return Float32Array.from({ length: size }, () => (2 * random() - 1) * 0.5 + (shape.length === 1 ? 1 : 0));
}

/** A state with these parameters, and moments of zero. */
export function stateOf(
  layout: StageLayout,
  step: number,
  parameterValues: (parameter: Parameter) => Float32Array,
): { readonly manifest: StateManifest; readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(stateBytes(layout));
  bytes.set(stateHeader(step));
  for (const parameter of layout.parameters) {
    bytes.set(bytesOf(parameterValues(parameter)), stateOffset(layout, SECTIONS[0], parameter));
  }
  return { manifest: describe(layout, step, bytes), bytes };
}

/** The manifest of any bytes of the right length, whatever they hold. */
export function describe(layout: StageLayout, step: number, bytes: Uint8Array): StateManifest {
  const hasher = new StateHasher(layout, step);
  hasher.update(bytes);
  return hasher.finish();
}

/** Files in memory. */
export class MemoryDisk implements Disk {
  readonly files = new Map<string, Uint8Array>();

  list(): Promise<readonly string[]> {
    return Promise.resolve([...this.files.keys()]);
  }

  read(name: string, bytesMax: number): Promise<Uint8Array | undefined> {
    const file = this.files.get(name);
    if (file && file.length > bytesMax) {
      return Promise.reject(new RangeError(`Cannot read ${name}: too long`));
    }
    return Promise.resolve(file?.slice());
  }

  writeAtomic(name: string, parts: readonly Uint8Array[]): Promise<void> {
    this.files.set(name, Uint8Array.from(parts.flatMap((part) => [...part])));
    return Promise.resolve();
  }

  remove(name: string): Promise<void> {
    this.files.delete(name);
    return Promise.resolve();
  }
}
