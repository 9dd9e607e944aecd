/**
 * Where a peer keeps what must outlive its process: its key and its snapshots.
 * One process holds it at a time; it refuses a second, which would speak in the
 * first one's name.
 */

import { resolve } from "node:path";
import { UsageError } from "./arguments.ts";

/** A folder that this process holds. */
export interface DataDirectory extends Disposable {
  /** Absolute. */
  readonly path: string;
}

/**
 * Makes the folder where there is none, and holds it until it is disposed of or
 * this process ends, in whatever way.
 *
 * @throws {UsageError} if another process holds it, or it can't be written.
 */
export async function holdDataDirectory(path: string): Promise<DataDirectory> {
  const absolute = resolve(path);
  let lock: Deno.FsFile;
  try {
    // For its owner's eyes alone: the peer's key lies here.
    await Deno.mkdir(absolute, { recursive: true, mode: 0o700 });
    lock = await Deno.open(`${absolute}/lock`, { create: true, write: true });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new UsageError(`Cannot keep data in ${absolute}: ${error.message}`);
  }
  if (!await lock.tryLock(true)) {
    lock.close();
    throw new UsageError(
      `Cannot keep data in ${absolute}: another process does; give this one a --data-dir of its own`,
    );
  }
  return { path: absolute, [Symbol.dispose]: () => lock.close() };
}
