/**
 * The state in which a stage begins that takes published weights: their values,
 * and moments of zero. It reads of the files only what the stage holds, and
 * refuses weights that do not fit the model.
 */

import { firstNotFinite } from "./checks.ts";
import { EMBEDDING, HEAD, type Parameter, type StageLayout } from "./parameters.ts";
import {
  type ByteSource,
  readSafetensor,
  readSafetensorsHeader,
  type SafetensorsEntry,
} from "./safetensors.ts";
import type { StateManifest } from "./stage.ts";
import { bytesOf, stateBytes, StateHasher, stateHeader, stateOffset } from "./state.ts";

/** Tensors of one file or of many, by their names. */
export class PublishedWeights {
  readonly #tensors = new Map<string, { readonly source: ByteSource; readonly entry: SafetensorsEntry }>();

  private constructor() {}

  /**
   * Reads the headers of these files.
   *
   * @throws {TypeError} if one is not to be believed, or two hold a tensor of one name.
   */
  static async open(sources: readonly ByteSource[]): Promise<PublishedWeights> {
    const weights = new PublishedWeights();
    for (const source of sources) {
      for (const [name, entry] of await readSafetensorsHeader(source)) {
        if (weights.#tensors.has(name)) throw new TypeError(`Cannot read weights: ${name} is there twice`);
        weights.#tensors.set(name, { source, entry });
      }
    }
    return weights;
  }

  /**
   * The values of one parameter. A head that is not there is the embedding: the two are tied.
   *
   * @throws {TypeError} if it is not there, of another shape, or not finite.
   */
  async read({ name, shape }: Pick<Parameter, "name" | "shape">): Promise<Float32Array> {
    const tensor = this.#tensors.get(name) ?? (name === HEAD ? this.#tensors.get(EMBEDDING) : undefined);
    if (tensor === undefined) throw new TypeError(`Cannot read weights: there is no ${name}`);
    const { source, entry } = tensor;
    if (entry.shape.join() !== shape.join()) {
      throw new TypeError(
        `Cannot read weights: ${name} has shape [${entry.shape.join(", ")}], expected [${shape.join(", ")}]`,
      );
    }
    const values = await readSafetensor(source, entry);
    const index = firstNotFinite(values);
    if (index >= 0) throw new TypeError(`Cannot read weights: value ${index} of ${name} is ${values[index]}`);
    return values;
  }
}

/**
 * The state of a stage at step 0 of a run that begins with these weights. The same weights give the same
 * state hash, whoever reads them.
 *
 * @throws {TypeError} as {@link PublishedWeights.read} does.
 */
export async function publishedState(
  layout: StageLayout,
  weights: PublishedWeights,
): Promise<{ readonly manifest: StateManifest; readonly bytes: Uint8Array }> {
  const bytes = new Uint8Array(stateBytes(layout));
  bytes.set(stateHeader(0));
  for (const parameter of layout.parameters) {
    const values = await weights.read(parameter);
    bytes.set(bytesOf(values), stateOffset(layout, "parameter", parameter));
  }
  const hasher = new StateHasher(layout, 0);
  hasher.update(bytes);
  return { manifest: hasher.finish(), bytes };
}
