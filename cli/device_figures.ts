/**
 * What was measured of the devices of this machine, in one file, so that it is
 * measured once. A file that does not read well is as good as none: measuring
 * anew costs seconds. It knows no device.
 */

import { z } from "zod";
import { DenoDisk } from "../stages/deno_disk.ts";

/** Seconds of a micro-batch, forward and back, at a stage. */
export interface Figure {
  readonly stage: number;
  /** As `--device` calls it. */
  readonly device: string;
  readonly seconds: number;
}

/** Measurements that are kept; the oldest go. */
const ENTRIES_MAX = 32;
/** Figures of one measurement: a few stages, on a few devices. */
const FIGURES_MAX = 64;
const NAME = "devices.json";
/** A full file is a quarter of it. */
const FILE_BYTES_MAX = 1024 * 1024;

const fileSchema = z.strictObject({
  version: z.literal(1),
  entries: z.array(z.strictObject({
    key: z.string().regex(/^[0-9a-f]{64}$/),
    figures: z.array(z.strictObject({
      stage: z.int().min(0),
      device: z.string().max(64),
      seconds: z.number().positive(),
    })).max(FIGURES_MAX),
  })).max(ENTRIES_MAX),
});

type Entries = z.infer<typeof fileSchema>["entries"];

/** The file of a folder. */
export class DeviceFigures {
  readonly #disk: DenoDisk;

  /** @param folder where it lies; it need not exist yet. */
  constructor(folder: string) {
    this.#disk = new DenoDisk(folder);
  }

  /** What was measured under this key, a SHA-256 in hex; `undefined` if nothing was, or nobody can read it. */
  async find(key: string): Promise<readonly Figure[] | undefined> {
    return (await this.#entries()).find((entry) => entry.key === key)?.figures;
  }

  /**
   * Keeps what was measured.
   *
   * @throws {Error} if the file can't be written.
   */
  async keep(key: string, figures: readonly Figure[]): Promise<void> {
    const others = (await this.#entries()).filter((entry) => entry.key !== key);
    const entries = [{ key, figures: figures.slice(0, FIGURES_MAX) }, ...others].slice(0, ENTRIES_MAX);
    await this.#disk.writeAtomic(NAME, [new TextEncoder().encode(JSON.stringify({ version: 1, entries }))]);
  }

  async #entries(): Promise<Entries> {
    try {
      const bytes = await this.#disk.read(NAME, FILE_BYTES_MAX);
      return bytes === undefined ? [] : fileSchema.parse(JSON.parse(new TextDecoder().decode(bytes))).entries;
    } catch {
      return [];
    }
  }
}
