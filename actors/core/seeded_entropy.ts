/**
 * Chance that repeats: the same seed draws the same numbers on every machine.
 * For simulations and for the order of data. Never for keys: whoever sees a
 * few draws can tell the rest.
 *
 * The generator is xoshiro128** 1.1 (D. Blackman and S. Vigna, "Scrambled
 * linear pseudorandom number generators", ACM TOMS 47(4), 2021).
 */

import { createHash } from "node:crypto";
import type { Entropy } from "./entropy.ts";
import { integerFromUniform, uniformFromWords } from "./uniform.ts";

/** A stream that its seed determines. */
export class SeededEntropy implements Entropy {
  readonly #key: Uint8Array;
  readonly #state: Uint32Array;

  /** A stream from its beginning; different seeds give unrelated streams. */
  constructor(seed: number | string | Uint8Array) {
    const material = seed instanceof Uint8Array ? seed : `${typeof seed}:${seed}`;
    this.#key = createHash("sha256").update(material).digest();
    const view = new DataView(this.#key.buffer, this.#key.byteOffset, 16);
    this.#state = Uint32Array.from([0, 4, 8, 12], (at) => view.getUint32(at, true));
    // All zeros is the generator's one fixed point.
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  uniform(): number {
    return uniformFromWords(this.#word(), this.#word());
  }

  /**
   * Uniform integer in [0, bound).
   *
   * @throws {RangeError} if `bound` is not an integer from 1 to 2³².
   */
  integer(bound: number): number {
    return integerFromUniform(this.uniform(), bound);
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 4) {
      const word = this.#word();
      for (let byte = 0; byte < 4 && at + byte < length; byte++) {
        bytes[at + byte] = word >>> (8 * byte);
      }
    }
    return bytes;
  }

  /** Depends on the seed and the name alone, not on what was drawn before. */
  fork(name: string): SeededEntropy {
    return new SeededEntropy(createHash("sha256").update(this.#key).update(name).digest());
  }

  #word(): number {
    const state = this.#state;
    const second = state[1]!;
    const result = Math.imul(rotateLeft(Math.imul(second, 5), 7), 9) >>> 0;
    state[2]! ^= state[0]!;
    state[3]! ^= second;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= second << 9;
    state[3] = rotateLeft(state[3]!, 11);
    return result;
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
