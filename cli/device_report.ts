/**
 * Asks a process of its own what a device can do, and gathers what it says
 * until it ends: in good order, in a crash, or at the end of its time. A device
 * that does not work is a report, and no error.
 */

import { stripVTControlCharacters } from "node:util";
import { z } from "zod";
import type { Clock } from "../actors/core/clock.ts";
import type { Manifest } from "../run/mod.ts";
import type { WorkerDevice } from "../stages/mod.ts";
import { startInBox } from "./box.ts";
import type { AdapterFacts } from "./device_adapter.ts";
import { printable } from "./format.ts";

/** What is to be found out, in this order. */
export interface ProbeRequest {
  readonly device: WorkerDevice;
  /** Measure a matrix product. */
  readonly product?: { readonly budgetMs: number };
  /** Measure these stages of a run. */
  readonly stages?: {
    readonly manifest: Manifest;
    readonly indices: readonly number[];
    /** For each of them. */
    readonly budgetMs: number;
  };
}

const findingSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("adapter"),
    adapter: z.object({
      name: z.string().max(512),
      software: z.boolean(),
      f16: z.boolean(),
      times: z.boolean(),
      bufferBytesMax: z.number(),
      tensorBytesMax: z.number(),
      through: z.enum(["dawn", "navigator"]),
    }),
  }),
  z.object({ kind: z.literal("opened") }),
  z.object({ kind: z.literal("product"), flopsPerSecond: z.number() }),
  z.object({ kind: z.literal("stage"), index: z.number(), seconds: z.number() }),
  z.object({ kind: z.literal("failed"), reason: z.string() }),
]);

/** What the process says, a JSON line each. */
export type Finding = z.infer<typeof findingSchema>;
/** What is known of a device. */
export interface DeviceReport {
  readonly device: WorkerDevice;
  /** Whether it could be opened. */
  readonly works: boolean;
  /** The adapter that it computes on, where it has one and says so. */
  readonly adapter: AdapterFacts | undefined;
  /** Of the best matrix product; `undefined` if it was not measured. */
  readonly flopsPerSecond: number | undefined;
  /** Seconds of a micro-batch, forward and back, by stage; as far as they were measured. */
  readonly stageSeconds: ReadonlyMap<number, number>;
  /** Why it does not work, or why the rest was not measured. */
  readonly trouble: string | undefined;
}

/** Finds something out about a device: {@link reportOn}, with all but the request settled. */
export type Probe = (request: ProbeRequest) => Promise<DeviceReport>;

/** Where a device is tried out. */
export interface ProbeSettings {
  readonly clock: Clock;
  /** Folder that the process may write to, and does not; it exists. */
  readonly dataDirectory: string;
  /** After it the process is ended. */
  readonly limitMs: number;
  /** The program; for tests. */
  readonly program?: URL;
}

const PROGRAM = new URL("./device_probe.ts", import.meta.url);

/** Longest line that is looked at. */
const LINE_CHARACTERS_MAX = 65_536;

/** Characters kept of what a crashing driver said. */
const LAST_WORDS_MAX = 400;

/** Starts the process, in the box of a host, and listens to it. */
export async function reportOn(request: ProbeRequest, settings: ProbeSettings): Promise<DeviceReport> {
  const { clock, dataDirectory, limitMs, program = PROGRAM } = settings;
  const box = { program, args: [JSON.stringify(request)], dataDirectory, readable: [] };
  const child = await startInBox(box, { stdout: "piped", stderr: "piped" });
  let overdue = false;
  const timer = clock.after(limitMs, () => {
    overdue = true;
    child.kill("SIGKILL");
  });
  const findings: Finding[] = [];
  const [lastWords] = await Promise.all([
    lastOf(child.stderr),
    forEachLine(child.stdout, (line) => {
      const finding = findingSchema.safeParse(parsed(line));
      if (finding.success) findings.push(finding.data);
    }),
  ]);
  const { success, signal, code } = await child.status;
  timer.cancel();
  await child.stdin.close().catch(() => {});
  const crash = overdue
    ? `it did not end within ${limitMs / 1000} s`
    : success
    ? undefined
    : `its process ended with ${signal ?? `code ${code}`}${lastWords === "" ? "" : `: ${lastWords}`}`;
  return summarise(request.device, findings, crash);
}

/** What findings come to. @param crash why there are no more of them. */
export function summarise(
  device: WorkerDevice,
  findings: readonly Finding[],
  crash: string | undefined,
): DeviceReport {
  const of = <Kind extends Finding["kind"]>(kind: Kind) =>
    findings.filter((finding): finding is Extract<Finding, { kind: Kind }> => finding.kind === kind);
  return {
    device,
    works: of("opened").length > 0,
    adapter: of("adapter")[0]?.adapter,
    flopsPerSecond: of("product")[0]?.flopsPerSecond,
    stageSeconds: new Map(of("stage").map(({ index, seconds }) => [index, seconds])),
    trouble: of("failed")[0]?.reason ?? crash,
  };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // a driver's own words
  }
}

async function forEachLine(stream: ReadableStream<Uint8Array>, take: (line: string) => void): Promise<void> {
  let rest = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop()!.slice(0, LINE_CHARACTERS_MAX);
    for (const line of lines) take(line);
  }
}

async function lastOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  let last = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    last = (last + part).slice(-LAST_WORDS_MAX);
  }
  return printable(stripVTControlCharacters(last).trim().replaceAll(/\s+/g, " "));
}
