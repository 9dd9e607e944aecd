/**
 * What must outlive a crash, as one text that is replaced whole. Either the old
 * text is found afterwards or the new one, never half of each. What the text says
 * is its owner's business.
 */

/** A text that lasts. */
export interface Journal {
  /** The last text that was kept; `undefined` before the first. */
  load(): Promise<string | undefined>;
  /** Returns once the text would survive a crash. One call at a time. */
  save(text: string): Promise<void>;
}

const OWNER_ONLY = 0o600;

/** A journal in a file, which only its owner can read. */
export function fileJournal(path: string): Journal {
  return {
    async load() {
      try {
        return await Deno.readTextFile(path);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return undefined;
        throw error;
      }
    },
    async save(text) {
      const next = `${path}.next`;
      {
        using file = await Deno.open(next, { write: true, create: true, truncate: true, mode: OWNER_ONLY });
        await writeAll(file, new TextEncoder().encode(text));
        await file.syncData();
      }
      await Deno.rename(next, path);
    },
  };
}

/** A journal that lasts as long as the process. */
export function memoryJournal(text?: string): Journal {
  return {
    load: () => Promise.resolve(text),
    save: (next) => {
      text = next;
      return Promise.resolve();
    },
  };
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
}
