/**
 * Where documents of epochs lie, by their content: whoever knows a hash can tell
 * whether a text is the one. It judges no document otherwise.
 */

import { join } from "node:path";
import { documentHash } from "./epoch.ts";

/** Documents by their hash. */
export interface EpochStore {
  /** The text whose hash this is; `undefined` if it is not here. */
  get(hash: string): Promise<string | undefined>;
  /** Keeps a text; returns its hash. */
  put(text: string): Promise<string>;
}

const HASH = /^0x[0-9a-f]{64}$/;

/** Documents in a folder, which is made when the first is kept: `<hash>.json` each. */
export function epochFolder(folder: string): EpochStore {
  const pathOf = (hash: string) => join(folder, `${hash.slice(2)}.json`);
  return {
    async get(hash) {
      if (!HASH.test(hash)) return undefined;
      try {
        const text = await Deno.readTextFile(pathOf(hash));
        // A power cut may have left half of it.
        return documentHash(text) === hash ? text : undefined;
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return undefined;
        throw error;
      }
    },
    async put(text) {
      const hash = documentHash(text);
      await Deno.mkdir(folder, { recursive: true });
      await Deno.writeTextFile(`${pathOf(hash)}.next`, text);
      await Deno.rename(`${pathOf(hash)}.next`, pathOf(hash));
      return hash;
    },
  };
}

/** Documents that last as long as the process. */
export function epochMemory(): EpochStore {
  const texts = new Map<string, string>();
  return {
    get: (hash) => Promise.resolve(texts.get(hash)),
    put(text) {
      const hash = documentHash(text);
      texts.set(hash, text);
      return Promise.resolve(hash);
    },
  };
}
