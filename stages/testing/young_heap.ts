/**
 * Makes garbage as a busy host does, where some objects live for a while: that has
 * a heap make more room for young ones. Says how much room there is then; as a
 * thread of its own it posts that.
 */

import { getHeapSpaceStatistics } from "node:v8";

/** Objects that are made, and how many of them live at a time. */
const MADE = 6_000_000;
const ALIVE = 20_000;

/** Bytes that the heap of this thread has for young objects after all that. */
export function youngBytesAfterWork(): number {
  const alive = new Array<{ readonly numbers: readonly number[] }>(ALIVE);
  for (let made = 0; made < MADE; made++) alive[made % ALIVE] = { numbers: [made] };
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")!.space_size;
}

/** A worker's own end; Deno's types know the window's only. */
const port = globalThis as unknown as { postMessage(bytes: number): void };
if ("WorkerGlobalScope" in globalThis) port.postMessage(youngBytesAfterWork());
