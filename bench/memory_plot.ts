/** Memory over a run as a picture: SVG text, one curve a process. It reads no file and writes none. */

import { scaleLinear } from "d3-scale";
import { line } from "d3-shape";

/** Resident memory of one process, oldest sample first. */
export interface MemoryCurve {
  /** Of the process; no character that XML gives a meaning. */
  readonly name: string;
  readonly points: { readonly step: number; readonly megabytes: number }[];
}

const WIDTH = 960;
const HEIGHT = 540;
const MARGIN = { top: 60, right: 120, bottom: 56, left: 68 };
const INK = { text: "#24292f", quiet: "#6e7781", grid: "#eaeef2" };
const COLOURS = ["#1f6feb", "#d1570b", "#1a7f37", "#8250df", "#cf222e", "#0a7ea4", "#9a6700", "#57606a"];

/**
 * @param unit of what the curves go over.
 * @returns a whole SVG document, 960 × 540.
 */
export function plotMemory(curves: readonly MemoryCurve[], title: string, unit: string): string {
  const points = curves.flatMap((curve) => curve.points);
  const x = scaleLinear([0, Math.max(1, ...points.map(({ step }) => step))], [
    MARGIN.left,
    WIDTH - MARGIN.right,
  ]);
  const y = scaleLinear([0, Math.max(1, ...points.map(({ megabytes }) => megabytes))], [
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
  ]).nice();
  const path = line<MemoryCurve["points"][number]>(({ step }) => x(step), ({ megabytes }) => y(megabytes))
    .digits(1);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}"` +
    ` font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="${INK.text}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<text x="${MARGIN.left}" y="32" font-size="16" font-weight="600">${title}</text>`,
    ...y.ticks(6).map((tick) =>
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(tick)}" y2="${
        y(tick)
      }" stroke="${INK.grid}"/>` +
      `<text x="${MARGIN.left - 8}" y="${y(tick) + 4}" text-anchor="end" fill="${INK.quiet}">${tick}</text>`
    ),
    ...x.ticks(8).filter(Number.isInteger).map((tick) =>
      `<text x="${x(tick)}" y="${
        HEIGHT - MARGIN.bottom + 20
      }" text-anchor="middle" fill="${INK.quiet}">${tick}</text>`
    ),
    `<text x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${
      HEIGHT - 12
    }" text-anchor="middle">${unit}</text>`,
    `<text transform="translate(20 ${
      HEIGHT / 2
    }) rotate(-90)" text-anchor="middle">resident memory, MB</text>`,
    ...curves.map(({ name, points }, index) => {
      const colour = COLOURS[index % COLOURS.length];
      const left = WIDTH - MARGIN.right + 16;
      const top = MARGIN.top + 20 * index;
      return `<path d="${path(points)}" fill="none" stroke="${colour}" stroke-width="1.5"/>` +
        `<rect x="${left}" y="${top - 10}" width="12" height="12" rx="2" fill="${colour}"/>` +
        `<text x="${left + 18}" y="${top}" fill="${INK.quiet}">${name}</text>`;
    }),
    "</svg>",
  ].join("\n") + "\n";
}
