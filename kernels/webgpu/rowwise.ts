/** The dispatch of kernels that take a row at a time: norms, softmax. */

import { workgroupsOf } from "./workgroups.ts";
import type { Dispatch, WgslLimits } from "./writer.ts";

/** What the threads of a workgroup have together; stands before a file that calls it. */
export const REDUCE = new URL("./reduce.wgsl", import.meta.url);

/** Invocations of one workgroup, where rows are long enough for them. */
const THREADS_MAX = 256;

/** Fewer leave lanes of the machine empty. */
const THREADS_MIN = 32;

/** Elements that are worth an invocation, which has to wait for the others. */
const ELEMENTS_PER_THREAD = 4;

/**
 * One workgroup of `THREADS` invocations for each row. The file does nothing
 * from row `ROWS` on; its invocations go through the `WIDTH` elements together.
 */
export function rowwise(
  limits: WgslLimits,
  rows: number,
  width: number,
  dispatch: Omit<Dispatch, "workgroups">,
): Dispatch {
  return {
    ...dispatch,
    sizes: { ROWS: rows, ...dispatch.sizes },
    constants: { WIDTH: width, THREADS: threadsOf(width), ...dispatch.constants },
    workgroups: workgroupsOf(limits, rows),
  };
}

/** The power of two that suits rows of this width. */
export function threadsOf(width: number): number {
  let threads = THREADS_MIN;
  while (threads * ELEMENTS_PER_THREAD < width && threads < THREADS_MAX) threads *= 2;
  return threads;
}
