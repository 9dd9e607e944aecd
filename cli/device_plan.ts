/**
 * Settles which device each stage of a run computes on. `auto` measures those
 * that work on this machine at the stages' own shapes, unless it has done so
 * before or there is nothing to choose from. It opens no device itself.
 */

import house from "../deno.json" with { type: "json" };
import { createHash } from "node:crypto";
import { canonicalJson, type Manifest, partition } from "../run/mod.ts";
import type { WorkerDevice } from "../stages/mod.ts";
import { Failure } from "./arguments.ts";
import type { DeviceFigures, Figure } from "./device_figures.ts";
import type { DeviceReport, Probe } from "./device_report.ts";
import { printable } from "./format.ts";
import type { DeviceChoice } from "./options.ts";

/** By stage: devices to compute on, the best first. */
export type StageDevices = readonly (readonly WorkerDevice[])[];

/** What was settled, and why. */
export interface DevicePlan {
  readonly devices: StageDevices;
  /** For a person, in a line. */
  readonly reason: string;
}

/** What the choice depends on. */
export interface PlanParts {
  readonly manifest: Manifest;
  /** The only stage that will be served; without it any may be. */
  readonly stage?: number;
  /** Threads of one run on the CPU. */
  readonly threads?: number;
  /** Finds out whether a device works, and how fast it is. */
  readonly probe: Probe;
  readonly figures: DeviceFigures;
  /** Told before something takes seconds. */
  readonly onMeasure: (devices: readonly string[]) => void;
}

/** What `auto` chooses from. `reference` is for machines that have none of them. */
const CANDIDATES = ["onnx", "onnx-cuda", "onnx-webgpu", "webgpu"] as const;

/** What one stage is measured for on one device, after it was warmed up. */
const STAGE_BUDGET_MS = 400;

/** Characters of a reason that are shown. */
const REASON_SHOWN_MAX = 160;

/**
 * Settles it.
 *
 * @throws {Failure} if a device that was asked for by name does not work here; the message says what would help.
 */
export async function planDevices(choice: DeviceChoice, parts: PlanParts): Promise<DevicePlan> {
  const { threads, manifest } = parts;
  const named = (name: WorkerDevice["name"]): WorkerDevice =>
    threads === undefined ? { name } : { name, threads };
  const everywhere = (...devices: WorkerDevice[]): StageDevices => partition(manifest).map(() => devices);

  if (choice === "reference") return { devices: everywhere(named(choice)), reason: "reference, as asked" };
  if (choice !== "auto") {
    const report = await parts.probe({ device: named(choice) });
    if (!report.works) throw new Failure(troubleOf(report));
    return { devices: everywhere(named(choice)), reason: `${describe(report)}, as asked` };
  }

  const reports = await Promise.all(CANDIDATES.map((name) => parts.probe({ device: named(name) })));
  const working = reports.filter(({ works }) => works);
  // A CPU that plays a GPU loses to the same CPU that does not.
  const hardware = working.filter(({ adapter }) => !adapter?.software);
  const candidates = hardware.length > 0 ? hardware : working;
  if (candidates.length === 0) {
    const why = reports.map(troubleOf).map(shortened).join("; ");
    return { devices: everywhere(named("reference")), reason: `reference, which is slow: ${why}` };
  }
  if (candidates.length === 1) {
    const others = reports.filter((report) => report !== candidates[0]).map(whyNot).join("; ");
    return {
      devices: everywhere(candidates[0].device),
      reason: `${describe(candidates[0])}, the only one here (${others})`,
    };
  }
  return await planByFigures(candidates, parts);
}

async function planByFigures(candidates: readonly DeviceReport[], parts: PlanParts): Promise<DevicePlan> {
  const { manifest, figures } = parts;
  const measured = stagesToMeasure(manifest, parts.stage);
  const key = keyOf(candidates, parts);
  const known = await figures.find(key);
  const found = known ?? await measure(candidates, [...new Set(measured)], parts);
  if (known === undefined && found.length > 0) await figures.keep(key, found);

  const bySpeed = (stage: number): readonly DeviceReport[] => {
    const seconds = (report: DeviceReport) => secondsOf(found, stage, report) ?? Infinity;
    return [...candidates].sort((a, b) => seconds(a) - seconds(b) || 0);
  };
  const told = [...new Set(measured)].map((stage) => {
    const [best, ...rest] = bySpeed(stage);
    const timed = (report: DeviceReport) => {
      const seconds = secondsOf(found, stage, report);
      return seconds === undefined ? "not measured" : milliseconds(seconds);
    };
    const others = rest.map((report) => `${report.device.name} ${timed(report)}`).join(", ");
    return `${describe(best)} for stage ${stage}: ${timed(best)} a micro-batch (${others})`;
  });
  return {
    devices: measured.map((stage) => bySpeed(stage).map(({ device }) => device)),
    reason: told.join("; ") + (known === undefined ? "" : "; as measured before"),
  };
}

/** By stage: the stage whose shapes are its own too. */
function stagesToMeasure(manifest: Manifest, only: number | undefined): readonly number[] {
  const slices = partition(manifest);
  if (only !== undefined) return slices.map(() => only);
  const first = new Map<string, number>();
  return slices.map(({ index, embedding, head }) => {
    // How many layers there are of the same kind makes no device faster than another.
    const shapes = `${embedding} ${head}`;
    if (!first.has(shapes)) first.set(shapes, index);
    return first.get(shapes)!;
  });
}

/** One after the other, since they share the machine. */
async function measure(
  candidates: readonly DeviceReport[],
  indices: readonly number[],
  { manifest, probe, onMeasure }: PlanParts,
): Promise<Figure[]> {
  onMeasure(candidates.map(({ device }) => device.name));
  const figures: Figure[] = [];
  for (const { device } of candidates) {
    const stages = { manifest, indices, budgetMs: STAGE_BUDGET_MS };
    const { stageSeconds } = await probe({ device, stages });
    for (const [stage, seconds] of stageSeconds) figures.push({ stage, device: device.name, seconds });
  }
  return figures;
}

/** Names what the figures depend on: the machine, its devices, what computes on them, and the shapes. */
function keyOf(candidates: readonly DeviceReport[], { manifest, stage, threads }: PlanParts): string {
  const { model, stages, sequenceLength, sequencesPerMicroBatch, precision } = manifest;
  const content = canonicalJson({
    devices: candidates.map(({ device, adapter }) => [device.name, adapter?.name ?? null]),
    machine: [Deno.build.target, navigator.hardwareConcurrency],
    programs: [Deno.version.deno, house.version],
    threads: threads ?? null,
    stage: stage ?? null,
    run: { model, stages, sequenceLength, sequencesPerMicroBatch, precision },
  });
  return createHash("sha256").update(content).digest("hex");
}

function secondsOf(figures: readonly Figure[], stage: number, { device }: DeviceReport): number | undefined {
  return figures.find((figure) => figure.stage === stage && figure.device === device.name)?.seconds;
}

function describe({ device, adapter }: DeviceReport): string {
  return adapter === undefined ? device.name : `${device.name} (${printable(adapter.name)})`;
}

function whyNot(report: DeviceReport): string {
  return report.works
    ? `${report.device.name} would compute on the CPU, by ${printable(report.adapter!.name)}`
    : `no ${report.device.name}`;
}

function troubleOf({ device, trouble }: DeviceReport): string {
  return trouble ?? `Cannot open ${device.name}: it did not say why`;
}

function shortened(words: string): string {
  return words.length <= REASON_SHOWN_MAX ? words : `${words.slice(0, REASON_SHOWN_MAX)}…`;
}

function milliseconds(seconds: number): string {
  return `${Number((seconds * 1000).toPrecision(2))} ms`;
}
