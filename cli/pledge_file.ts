/**
 * What a host has promised, on its own disk: one small file for each run. A host
 * that forgets a promise could break it, so each is written before anybody hears
 * of it.
 */

import { join } from "node:path";
import { z } from "zod";
import type { Pledge } from "../actors/allegiance.ts";
import type { PledgeStore } from "../actors/host.ts";
import { ELECTORATES_MAX } from "../actors/limits.ts";
import { electorateSchema } from "../actors/messages.ts";
import { type Manifest, manifestHash } from "../run/mod.ts";
import { DenoDisk } from "../stages/deno_disk.ts";

const NAME = "pledge.json";
const BYTES_MAX = 16 * 1024;

const schema = z.strictObject({
  term: z.int().min(0),
  leader: z.string().min(1).max(128).nullable(),
  electorates: z.array(electorateSchema).max(ELECTORATES_MAX),
}) satisfies z.ZodType<Pledge>;

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
   * @throws {Error} if the file is damaged: whoever deletes it makes the host forget.
   */
  static async open(folder: string, manifest: Manifest): Promise<PledgeFile> {
    const path = join(folder, manifestHash(manifest).slice(0, 16));
    const disk = new DenoDisk(path);
    const bytes = await disk.read(NAME, BYTES_MAX);
    if (bytes === undefined) return new PledgeFile(disk, undefined);
    try {
      return new PledgeFile(disk, schema.parse(JSON.parse(new TextDecoder().decode(bytes))));
    } catch {
      throw new Error(
        `Cannot read ${join(path, NAME)}: it is damaged; delete it, and this host has no voice in who ` +
          "coordinates until the run has counted it in again",
      );
    }
  }

  async save(pledge: Pledge): Promise<void> {
    await this.#disk.writeAtomic(NAME, [new TextEncoder().encode(`${JSON.stringify(pledge)}\n`)]);
  }
}
