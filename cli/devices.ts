/**
 * `deno task devices`: what this machine can compute on. Each device is tried
 * out in a process of its own; it leaves nothing behind, and settles nothing.
 */

import type { Command } from "commander";
import { RealClock } from "../actors/core/real_clock.ts";
import type { WorkerDevice } from "../stages/mod.ts";
import { command, execute, PROCESS_OUTPUT } from "./arguments.ts";
import type { AdapterFacts } from "./device_adapter.ts";
import { type DeviceReport, reportOn } from "./device_report.ts";
import { gigabytes, printable, table } from "./format.ts";
import { wholeNumber } from "./options.ts";

interface DevicesOptions {
  readonly threads?: number;
  readonly json?: boolean;
}

/** A device, as the list calls it, and how `--device` asks for it. */
export interface Entry {
  readonly name: string;
  readonly what: string;
  readonly device: WorkerDevice;
}

/** What products of one size are measured for, of each device. */
const BUDGET_MS = 500;
/** What a device is given in all. A driver that compiles for longer is of no use. */
const LIMIT_MS = 20_000;
/** Cores of the largest machines of today, doubled; more is a slip of the finger. */
const THREADS_MAX = 1024;
/** Characters of a reason that are shown; `--json` tells the rest. */
const REASON_SHOWN_MAX = 300;

const devicesCommand: Command = command({
  name: "devices",
  summary: "What this machine can compute on, each tried out and measured at a matrix product.",
  examples: [
    { does: "the list, in about ten seconds", line: "deno task devices" },
    { does: "the same for a machine to read", line: "deno task devices --json" },
    {
      does: "with a Vulkan driver of one's own choice",
      line: "VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json deno task devices",
    },
  ],
})
  .option("--threads <number>", "threads of devices on the CPU", wholeNumber(1, THREADS_MAX))
  .option("--json", "one JSON line a device on standard output")
  .action(devices);

async function devices(options: DevicesOptions): Promise<void> {
  const clock = new RealClock();
  const dataDirectory = await Deno.realPath(await Deno.makeTempDir({ prefix: "murmuration-devices-" }));
  try {
    const found: { readonly entry: Entry; readonly report: DeviceReport }[] = [];
    // One after the other: they are measured, and share the machine.
    for (const entry of entries(options.threads)) {
      const report = await reportOn(
        { device: entry.device, product: { budgetMs: BUDGET_MS } },
        { clock, dataDirectory, limitMs: LIMIT_MS },
      );
      found.push({ entry, report });
      if (options.json) PROCESS_OUTPUT.out(`${JSON.stringify(asJson(entry, report))}\n`);
    }
    if (!options.json) PROCESS_OUTPUT.out(asText(found, describeProcessor()));
  } finally {
    await Deno.remove(dataDirectory, { recursive: true });
  }
}

function entries(threads: number | undefined): readonly Entry[] {
  const onCpu = threads === undefined ? {} : { threads };
  return [
    { name: "reference", what: "plain loops", device: { name: "reference" } },
    { name: "onnx", what: "ONNX Runtime, CPU", device: { name: "onnx", ...onCpu } },
    { name: "onnx-cuda", what: "ONNX Runtime, CUDA", device: { name: "onnx-cuda" } },
    { name: "onnx-webgpu", what: "ONNX Runtime, WebGPU", device: { name: "onnx-webgpu" } },
    { name: "webgpu", what: "our WGSL, by Dawn", device: { name: "webgpu", sources: ["dawn"] } },
    {
      name: "webgpu",
      what: "our WGSL, by navigator.gpu",
      device: { name: "webgpu", sources: ["navigator"] },
    },
  ];
}

function describeProcessor(): string {
  return `${navigator.hardwareConcurrency} cores, ${gigabytes(Deno.systemMemoryInfo().total)} of memory`;
}

function asJson({ name, what, device }: Entry, report: DeviceReport): Record<string, unknown> {
  const { works, adapter = null, flopsPerSecond = null, trouble = null } = report;
  const source = device.sources?.[0] ?? null;
  return { device: name, what, source, works, adapter, flopsPerSecond, trouble };
}

/**
 * The list as a person reads it: what works, then what does not and why.
 *
 * @param processor what devices on the CPU compute on.
 */
export function asText(
  found: readonly { readonly entry: Entry; readonly report: DeviceReport }[],
  processor: string,
): string {
  const working = found.filter(({ report }) => report.works);
  const rows = working.map(({ entry, report: { adapter, flopsPerSecond } }) => [
    entry.name,
    entry.what,
    flopsPerSecond === undefined
      ? "not measured"
      : `${Number((flopsPerSecond / 1e9).toPrecision(3))} GFLOP/s`,
    adapter === undefined
      ? entry.device.name === "onnx" || entry.device.name === "reference" ? processor : ""
      : describeAdapter(adapter),
  ]);
  const lines = [table(["--device", "what", "matrix product", "adapter"], rows), ""];
  for (const { entry, report } of found) {
    if (report.trouble === undefined) continue;
    const reason = printable(report.trouble.replaceAll(/\s+/g, " ")).slice(0, REASON_SHOWN_MAX);
    lines.push(
      report.works
        ? `${entry.name} (${entry.what}) was opened, but not measured: ${reason}`
        : `${entry.name} (${entry.what}) is not here. ${reason}`,
    );
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

/** WebGPU says what one buffer may hold, and of no adapter how much memory there is. */
function describeAdapter(
  { name, software, f16, times, bufferBytesMax, tensorBytesMax }: AdapterFacts,
): string {
  return [
    `${printable(name)}${software ? " (software)" : ""}`,
    f16 ? "f16" : "no f16",
    ...times ? ["its own clock"] : [],
    `tensors up to ${gigabytes(tensorBytesMax)}`,
    ...bufferBytesMax > tensorBytesMax ? [`buffers up to ${gigabytes(bufferBytesMax)}`] : [],
  ].join("; ");
}

if (import.meta.main) Deno.exit(await execute(devicesCommand, Deno.args));
