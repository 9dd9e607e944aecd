/**
 * The state in which a stage begins that takes published weights: their values,
 * and moments of zero. It reads of the files only what the stage holds, and
 * refuses weights that do not fit the model.
 */

import { firstNotFinite } from "./checks.ts";
import { EMBEDDING, HEAD, type Parameter, type StageLayout } from "./parameters.ts";
import {
  type ByteSource,
  readSafetensorsHeader,
  safetensorParts,
  type SafetensorsEntry,
} from "./safetensors.ts";
import type { WholeState } from "./snapshot.ts";
import type { StateManifest } from "./stage.ts";
import { bytesOf, SECTIONS, stateBytes, StateHasher, stateHeader } from "./state.ts";

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

  /** Whether a tensor of this name is there; a head may also be the embedding. */
  has({ name }: Pick<Parameter, "name">): boolean {
    return this.#find(name) !== undefined;
  }

  #find(name: string) {
    return this.#tensors.get(name) ?? (name === HEAD ? this.#tensors.get(EMBEDDING) : undefined);
  }

  /**
   * The values of one parameter, part by part. A head that is not there is the embedding: the two are tied.
   *
   * @throws {TypeError} if it is not there, of another shape, or not finite.
   */
  async *parts({ name, shape }: Pick<Parameter, "name" | "shape">): AsyncGenerator<Float32Array, void, void> {
    const tensor = this.#find(name);
    if (tensor === undefined) throw new TypeError(`Cannot read weights: there is no ${name}`);
    const { source, entry } = tensor;
    if (entry.shape.join() !== shape.join()) {
      throw new TypeError(
        `Cannot read weights: ${name} has shape [${entry.shape.join(", ")}], expected [${shape.join(", ")}]`,
      );
    }
    let at = 0;
    for await (const values of safetensorParts(source, entry)) {
      const index = firstNotFinite(values);
      if (index >= 0) {
        throw new TypeError(`Cannot read weights: value ${at + index} of ${name} is ${values[index]}`);
      }
      yield values;
      at += values.length;
    }
  }

  /**
   * Whether the head is the embedding. Some files hold it twice.
   *
   * @throws {TypeError} if the two are said to be tied and differ, or not to be and there is but one.
   */
  async checkHead(tied: boolean, shape: readonly number[]): Promise<void> {
    const refuse = (why: string): never => {
      throw new TypeError(`Cannot read weights: tie_word_embeddings is ${tied}, but ${why}`);
    };
    if (!this.#tensors.has(HEAD)) return tied ? undefined : refuse(`there is no ${HEAD}`);
    if (!tied) return;
    const embedding = this.parts({ name: EMBEDDING, shape });
    // Of one shape, they come in parts of one length if they are of one type; else they are not one tensor.
    for await (const head of this.parts({ name: HEAD, shape })) {
      const { value } = await embedding.next();
      if (value === undefined || value.length !== head.length || head.some((it, i) => it !== value[i])) {
        refuse(`${HEAD} is not ${EMBEDDING}`);
      }
    }
  }
}

/** Zeros that moments begin with, so many at once. */
const ZEROS = new Uint8Array(1024 * 1024);

/** The bytes of a stage's state at step 0, part by part. */
async function* stateParts(
  layout: StageLayout,
  weights: PublishedWeights,
): AsyncGenerator<Uint8Array, void, void> {
  yield stateHeader(0);
  for (const parameter of layout.parameters) {
    for await (const values of weights.parts(parameter)) yield bytesOf(values);
  }
  for (let rest = (SECTIONS.length - 1) * layout.size * 4; rest > 0; rest -= ZEROS.length) {
    yield ZEROS.subarray(0, rest);
  }
}

/**
 * What the state of a stage at step 0 of a run that begins with these weights is called. It is never held
 * whole.
 *
 * @param onBytes told how many bytes of the state were hashed since it was told last.
 * @throws {TypeError} as {@link PublishedWeights.parts} does.
 */
export async function describePublishedState(
  layout: StageLayout,
  weights: PublishedWeights,
  onBytes: (count: number) => void = () => {},
): Promise<StateManifest> {
  const hasher = new StateHasher(layout, 0);
  for await (const part of stateParts(layout, weights)) {
    hasher.update(part);
    onBytes(part.length);
  }
  return hasher.finish();
}

/**
 * The state of a stage at step 0 of a run that begins with these weights. The same weights give the same
 * state hash, whoever reads them.
 *
 * @throws {TypeError} as {@link PublishedWeights.parts} does.
 */
export async function publishedState(layout: StageLayout, weights: PublishedWeights): Promise<WholeState> {
  const bytes = new Uint8Array(stateBytes(layout));
  const hasher = new StateHasher(layout, 0);
  let at = 0;
  for await (const part of stateParts(layout, weights)) {
    bytes.set(part, at);
    hasher.update(part);
    at += part.length;
  }
  return { manifest: hasher.finish(), bytes };
}
