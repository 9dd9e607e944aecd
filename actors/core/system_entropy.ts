/**
 * The machine's own chance. One of the few files that may draw it.
 */

import { randomBytes } from "node:crypto";
import type { Entropy } from "./entropy.ts";
import { integerFromUniform, uniformFromWords } from "./uniform.ts";

/** Unpredictable, and fit for keys and nonces. */
export class SystemEntropy implements Entropy {
  uniform(): number {
    const bytes = randomBytes(8);
    return uniformFromWords(bytes.readUInt32LE(0), bytes.readUInt32LE(4));
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
    return new Uint8Array(randomBytes(length));
  }

  /** Itself: its draws can't be told from those of another stream. */
  fork(_name: string): SystemEntropy {
    return this;
  }
}
