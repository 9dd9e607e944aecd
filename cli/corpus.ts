/**
 * Text to try a run on that everybody has: the sources and documents of this
 * repository. It takes files in the order of their names, so that the same
 * repository gives the same text.
 */

import { join } from "node:path";

/** Deeper than any folder of ours. */
const DEPTH_MAX = 8;

/**
 * Reads all `*.ts` and `*.md` below a folder, one after the other; hidden
 * folders and packages are left out.
 *
 * @param charactersMax where to stop, in the middle of a file if need be.
 */
export async function collectText(folder: string, charactersMax: number): Promise<string> {
  let text = "";
  for await (const path of textFiles(folder, DEPTH_MAX)) {
    text += await Deno.readTextFile(path) + "\n";
    if (text.length >= charactersMax) return text.slice(0, charactersMax);
  }
  return text;
}

async function* textFiles(folder: string, depth: number): AsyncGenerator<string> {
  const entries = await Array.fromAsync(Deno.readDir(folder));
  // Not by locale: the order must be the same on every machine.
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name, isDirectory, isFile } of entries) {
    if (name.startsWith(".") || name === "node_modules") continue;
    const path = join(folder, name);
    if (isDirectory && depth > 1) yield* textFiles(path, depth - 1);
    else if (isFile && /\.(ts|md)$/.test(name)) yield path;
  }
}
