/**
 * Chance as an argument. Nothing in the house draws from the machine's
 * generators but the implementations of this interface.
 */

/** Where chance comes from. */
export interface Entropy {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Uniform integer in [0, bound). */
  integer(bound: number): number;
  /** Random bytes. */
  bytes(length: number): Uint8Array;
  /** An independent stream, named, so that draws of one role don't shift another's. */
  fork(name: string): Entropy;
}
