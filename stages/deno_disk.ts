/**
 * A folder of the machine's file system as a `Disk`. It reaches nothing outside
 * its folder, and follows no names with slashes.
 */

import type { Disk } from "./snapshot.ts";

const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const UNFINISHED = ".writing";

/** Files in one folder, which is made when the first is written. */
export class DenoDisk implements Disk {
  readonly #folder: string;

  /** Takes the folder's path. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async list(): Promise<readonly string[]> {
    const names: string[] = [];
    try {
      for await (const entry of Deno.readDir(this.#folder)) {
        if (entry.isFile && !entry.name.endsWith(UNFINISHED)) names.push(entry.name);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return names.sort();
  }

  async read(name: string, bytesMax: number): Promise<Uint8Array | undefined> {
    const path = this.#path(name);
    try {
      const { size } = await Deno.stat(path);
      if (size > bytesMax) {
        throw new RangeError(`Cannot read ${name}: it is ${size} bytes long, allowed are ${bytesMax}`);
      }
      return await Deno.readFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  async writeAtomic(name: string, parts: readonly Uint8Array[]): Promise<void> {
    const path = this.#path(name);
    await Deno.mkdir(this.#folder, { recursive: true });
    const unfinished = path + UNFINISHED;
    {
      using file = await Deno.open(unfinished, { write: true, create: true, truncate: true });
      for (const part of parts) await writeAll(file, part);
      await file.sync();
    }
    await Deno.rename(unfinished, path);
    await syncFolder(this.#folder);
  }

  async remove(name: string): Promise<void> {
    try {
      await Deno.remove(this.#path(name));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  #path(name: string): string {
    if (!FILE_NAME.test(name) || name.endsWith(UNFINISHED)) {
      throw new TypeError(`Cannot use file ${JSON.stringify(name)}: it is no plain name`);
    }
    return `${this.#folder}/${name}`;
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  let rest = bytes;
  while (rest.length > 0) rest = rest.subarray(await file.write(rest));
}

/** The new name itself is durable only when the folder is; Windows has no such call. */
async function syncFolder(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  using handle = await Deno.open(folder, { read: true });
  await handle.sync();
}
