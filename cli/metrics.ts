/**
 * A run's events as a file of JSON lines: one event a line, written as it
 * happens, so that a run that dies leaves all of it. It refuses to judge what
 * it writes, and reads back only what it can believe.
 */

import { z } from "zod";
import type { RunEvent } from "../actors/report.ts";
import { UsageError } from "./arguments.ts";

/** An event as one line, its end included. */
export function toLine(event: RunEvent): string {
  return JSON.stringify(event) + "\n";
}

/** Where a run's events are written. */
export class MetricsFile implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #encoder = new TextEncoder();

  /**
   * Opens it, and makes it where there is none.
   *
   * @param keep whether to go on behind what is in it already (a run that resumes); else it starts empty.
   */
  constructor(path: string, keep: boolean) {
    this.#file = Deno.openSync(path, { create: true, write: true, append: keep, truncate: !keep });
  }

  /** Writes one event; the system has it when this returns. */
  write(event: RunEvent): void {
    const bytes = this.#encoder.encode(toLine(event));
    let written = 0;
    while (written < bytes.length) written += this.#file.writeSync(bytes.subarray(written));
  }

  [Symbol.dispose](): void {
    this.#file.syncDataSync();
    this.#file.close();
  }
}

const peer = z.string().max(256);
const count = z.int().min(0);
const events = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("waiting"), step: count, stage: count, reason: z.string() }),
  z.object({ kind: z.literal("leading"), term: count, step: count }),
  z.object({ kind: z.literal("following"), leader: peer, step: count }),
  z.object({ kind: z.literal("joined"), peer, stage: count, step: count }),
  z.object({ kind: z.literal("moved"), peer, from: count, to: count, step: count }),
  z.object({ kind: z.literal("lost"), peer, stage: count, step: count, reason: z.string() }),
  z.object({
    kind: z.literal("step"),
    step: count,
    loss: z.number(),
    learningRate: z.number(),
    gradientNorm: z.number(),
    tokens: count,
    seconds: z.number(),
    replays: count,
    hosts: z.array(count),
    served: z.record(peer, count),
    stateHashes: z.array(z.string()),
  }),
  z.object({ kind: z.literal("validation"), step: count, loss: z.number(), tokens: count }),
  z.object({ kind: z.literal("done"), step: count }),
  z.object({ kind: z.literal("failed"), step: count, reason: z.string() }),
]) satisfies z.ZodType<RunEvent>;

/**
 * Reads one line back.
 *
 * @returns `undefined` if it is no event: the last line of a file may be cut.
 */
export function fromLine(line: string): RunEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const parsed = events.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/**
 * Reads a file back; nothing if there is none. Steps that were taken twice (a
 * run that went back to an older state) count as they were taken last.
 *
 * @throws {UsageError} if the file is larger than a run of a million steps writes.
 */
export async function readMetrics(path: string): Promise<RunEvent[]> {
  let size: number;
  try {
    ({ size } = await Deno.stat(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  if (size > METRICS_BYTES_MAX) throw new UsageError(`Cannot read metrics ${path}: it holds ${size} bytes`);
  let kept: RunEvent[] = [];
  let latest = 0;
  for (const line of (await Deno.readTextFile(path)).split("\n")) {
    const event = fromLine(line);
    if (event === undefined) continue;
    if (event.kind === "step") {
      if (event.step <= latest) {
        kept = kept.filter((earlier) => !isProgress(earlier) || earlier.step < event.step);
      }
      latest = event.step;
    }
    kept.push(event);
  }
  return kept;
}

/** A line is some 600 bytes; V8 takes half a gigabyte in one string. */
const METRICS_BYTES_MAX = 500_000_000;

function isProgress(event: RunEvent): boolean {
  return event.kind === "step" || event.kind === "validation";
}
