/** Rows as text for a terminal. It knows no terminal and judges no figure. */

import { type BenchRow, isMet, type Target } from "./row.ts";

const HEAD = ["", "value", "unit", "ratio", "to", "target", "met"];
/** Columns of figures stand flush right. */
const RIGHT = new Set([1, 3]);

/** All rows under one head, one line each, without a last line break. */
export function table(rows: readonly BenchRow[]): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) =>
    line.map((cell, column) =>
      RIGHT.has(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column])
    ).join("  ").trimEnd()
  ).join("\n");
}

/** One row as a line of its own. */
export function line(row: BenchRow): string {
  const [name, value, unit, ratio, to, target, met] = cells(row);
  const compared = ratio === "" ? "" : `, ${ratio} of ${to}`;
  const judged = target === "" ? "" : ` (target: ${target}; met: ${met})`;
  return `${name}: ${value} ${unit}${compared}${judged}`;
}

function cells(row: BenchRow): string[] {
  const met = isMet(row);
  return [
    row.name,
    figure(row.value),
    row.unit,
    row.ratio === undefined ? "" : row.ratio.toFixed(2),
    row.to ?? "",
    row.target === undefined ? "" : words(row.target, row.unit),
    met === undefined ? "" : met ? "yes" : "no",
  ];
}

function words({ of, atLeast, atMost }: Target, unit: string): string {
  const bounds = [
    ...atLeast === undefined ? [] : [`≥ ${atLeast}`],
    ...atMost === undefined ? [] : [`≤ ${atMost}`],
  ].join(" and ");
  return of === "ratio" ? `ratio ${bounds}` : `${bounds} ${unit}`;
}

/** Three digits that mean something; a benchmark has no more. */
function figure(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const digits = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(6, Math.max(0, 2 - digits)));
}
