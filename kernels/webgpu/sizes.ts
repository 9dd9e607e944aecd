/** The sizes that a plan's dispatches are given in a run, laid out in one uniform buffer. */

import type { Step } from "./plan.ts";

/** What `minUniformBufferOffsetAlignment` is at most. */
const ALIGNMENT = 256;

/** Where each step finds its sizes. */
export interface SizesLayout {
  /** All of them. Empty if no step has any. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** Where a step's begin and how long they are, in bytes; steps of the same values share theirs. */
  readonly places: ReadonlyMap<Step, { readonly offset: number; readonly size: number }>;
}

/**
 * Lays out the sizes of all steps.
 *
 * @throws {TypeError} if one is no unsigned number of 32 bits.
 */
export function layoutSizes(steps: readonly Step[]): SizesLayout {
  const words: number[] = [];
  const places = new Map<Step, { readonly offset: number; readonly size: number }>();
  const known = new Map<string, { readonly offset: number; readonly size: number }>();
  for (const step of steps) {
    const entries = Object.entries(step.dispatch.sizes ?? {});
    if (entries.length === 0) continue;
    const key = entries.map(([_name, value]) => value).join();
    let place = known.get(key);
    if (!place) {
      for (const [name, value] of entries) {
        if (Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) continue;
        throw new TypeError(
          `Cannot plan ${step.op}: ${name} is ${value}, expected an unsigned number of 32 bits`,
        );
      }
      place = { offset: words.length * 4, size: entries.length * 4 };
      known.set(key, place);
      words.push(...entries.map(([_name, value]) => value));
      while ((words.length * 4) % ALIGNMENT !== 0) words.push(0);
    }
    places.set(step, place);
  }
  return { words: Uint32Array.from(words), places };
}
