/**
 * What a host has promised, on its own disk: one small file for each run. A host
 * that forgets a promise could break it, so each is written before anybody hears
 * of it.
 */

import { join } from "node:path";
import { z } from "zod";
import type { Pledge } from "../actors/allegiance.ts";
import type { PledgeStore } from "../actors/host/following.ts";
import { ELECTORATES_MAX } from "../actors/limits.ts";
import { electorateSchema } from "../actors/messages.ts";
import { type Manifest, manifestHash } from "../run/mod.ts";
import { DenoDisk } from "../stages/deno_disk.ts";

const NAME = "pledge.json";
const BYTES_MAX = 16 * 1024;
/** Changes with the format: a promise that is read wrongly could be broken. */
const VERSION = 2;

const schema = z.strictObject({
  version: z.literal(VERSION),
  term: z.int().min(0),
  leader: z.string().min(1).max(128).nullable(),
  electorates: z.array(electorateSchema).max(ELECTORATES_MAX),
}) satisfies z.ZodType<Pledge & { readonly version: typeof VERSION }>;

/** The first format had no number. */
const versionSchema = z.object({ version: z.int().default(1) });

/** The promises of one host to the coordinators of one run. */
export class PledgeFile implements PledgeStore {
  readonly initial: Pledge | undefined;
  readonly #disk: DenoDisk;

  private constructor(disk: DenoDisk, initial: Pledge | undefined) {
    this.#disk = disk;
    this.initial = initial;
  }

  /**
   * Reads what is there.
   *
   * @param folder below it each run has a folder of its own.
   * @throws {Error} if the file is damaged, or of another version: whoever deletes it makes the host forget.
   */
  static async open(folder: string, manifest: Manifest): Promise<PledgeFile> {
    const path = join(folder, manifestHash(manifest).slice(0, 16));
    const disk = new DenoDisk(path);
    const bytes = await disk.read(NAME, BYTES_MAX);
    if (bytes === undefined) return new PledgeFile(disk, undefined);
    const read = pledgeIn(bytes);
    if (typeof read !== "string") return new PledgeFile(disk, read);
    throw new Error(
      `Cannot read ${join(path, NAME)}: ${read}; delete it, and this host has no voice in who ` +
        "coordinates until the run has counted it in again",
    );
  }

  async save(pledge: Pledge): Promise<void> {
    const text = JSON.stringify({ version: VERSION, ...pledge });
    await this.#disk.writeAtomic(NAME, [new TextEncoder().encode(`${text}\n`)]);
  }
}

/** The promise, or what is wrong with it. */
function pledgeIn(bytes: Uint8Array): Pledge | string {
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes));
    const { version } = versionSchema.parse(value);
    if (version !== VERSION) return `it is of version ${version}, and this host reads version ${VERSION}`;
    const { version: _, ...pledge } = schema.parse(value);
    return pledge;
  } catch {
    return "it is damaged";
  }
}
