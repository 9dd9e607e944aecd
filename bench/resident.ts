/**
 * Resident memory of processes as curves, and what a curve says of growth. It
 * starts no process and makes no load.
 *
 * A process that has just started grows until its caches and pools are filled,
 * so the slope is fitted to the second half of a run alone. Memory also rises
 * and falls as garbage is collected, by tens of MB in periods of minutes: a run
 * that sees few of them has a slope that means nothing, and the least of a
 * quarter tells more than any single moment.
 */

import { join } from "node:path";
import { HOME_DIRECTORY } from "../cli/box.ts";
import { fitLine } from "./fit.ts";
import { type MemoryCurve, plotMemory } from "./memory_plot.ts";
import type { BenchRow } from "./row.ts";

/** Where pictures and their numbers go. */
const FOLDER = join(HOME_DIRECTORY, "bench");

/** Curves of processes that come to be known as they are sampled. Linux only: elsewhere nobody says what another process holds. */
export class MemoryCurves {
  readonly #curves = new Map<string, MemoryCurve>();

  /** @throws {Error} where there is no /proc. */
  constructor() {
    if (Deno.build.os !== "linux") {
      throw new Error("Cannot sample memory: it is read from /proc, which is Linux's");
    }
  }

  get all(): readonly MemoryCurve[] {
    return [...this.#curves.values()];
  }

  /**
   * A point for each process that is up.
   *
   * @param step steps, or whatever else was done until now.
   */
  async sample(
    processes: readonly { readonly name: string; readonly pid: number }[],
    step: number,
  ): Promise<void> {
    for (const { name, pid } of processes) {
      const megabytes = await residentMegabytes(pid);
      if (megabytes === undefined) continue;
      const curve = this.#curves.getOrInsertComputed(name, () => ({ name, points: [] }));
      curve.points.push({ step, megabytes });
    }
  }

  /**
   * Megabytes of all processes at evenly spaced points of the one that was sampled first, as text for a terminal.
   * Where a process was not sampled its place is empty.
   *
   * @param unit of what the curves go over.
   */
  table(unit: string, rows: number): string {
    const [first] = this.all;
    if (first === undefined) return "";
    const places = Array.from(
      { length: rows },
      (_, row) => Math.ceil((row + 1) * first.points.length / rows) - 1,
    );
    const steps = new Set(places.filter((place) => place >= 0).map((place) => first.points[place].step));
    const cells = [
      [unit, ...this.all.map(({ name }) => name)],
      ...[...steps].map((step) => [
        `${step}`,
        ...this.all.map(({ points }) =>
          points.find((point) => point.step === step)?.megabytes.toFixed(0) ?? ""
        ),
      ]),
    ];
    const widths = cells[0].map((_, column) => Math.max(...cells.map((line) => line[column].length)));
    return cells.map((line) => line.map((cell, column) => cell.padStart(widths[column])).join("  ")).join(
      "\n",
    );
  }

  /** @returns where the picture is; its numbers lie beside it, as JSON. */
  async save(file: string, title: string, unit: string, folder = FOLDER): Promise<string> {
    await Deno.mkdir(folder, { recursive: true });
    const picture = join(folder, `${file}.svg`);
    await Deno.writeTextFile(picture, plotMemory(this.all, title, unit));
    await Deno.writeTextFile(
      join(folder, `${file}.json`),
      JSON.stringify({ title, unit, curves: this.all }, undefined, 1) + "\n",
    );
    return picture;
  }
}

/**
 * After a tenth, middle and end; the slope over the second half, and what lies under it.
 *
 * @param unit of what the curve goes over, in the plural.
 */
export function memoryRow({ name, points }: MemoryCurve, unit: string): BenchRow {
  const at = (share: number) => points[Math.round(share * (points.length - 1))].megabytes;
  const between = (from: number, to: number) => points.slice(from * points.length, to * points.length);
  const least = (some: MemoryCurve["points"]) => Math.min(...some.map(({ megabytes }) => megabytes));
  const half = between(0.5, 1).map(({ step, megabytes }) => [step / 1000, megabytes] as const);
  const [start, middle, end] = [at(0.1), at(0.5), at(1)].map((value) => value.toFixed(0));
  return {
    name: `memory: ${name}, ${start} → ${middle} → ${end} MB`,
    value: fitLine(half).slope,
    unit: `MB per 1000 ${unit}`,
    ratio: least(between(0.75, 1)) / least(between(0.5, 0.75)),
    to: "the quarter before, least by least",
  };
}

/** `undefined` where the process has just ended. */
async function residentMegabytes(pid: number): Promise<number | undefined> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "");
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024 / 1e6;
}
