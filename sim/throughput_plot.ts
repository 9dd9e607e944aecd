/** Throughput over the hours of a simulation as a picture: SVG text, one stepped curve each. It reads no file and writes none. */

import { scaleLinear } from "d3-scale";
import { curveStepAfter, line } from "d3-shape";

/** One way that a swarm went, or might have gone. */
export interface ThroughputCurve {
  /** No character that XML gives a meaning. */
  readonly name: string;
  /** What could have been, rather than what was: drawn in grey. */
  readonly possible?: boolean;
  /** In order of time. */
  readonly points: { readonly hour: number; readonly value: number }[];
}

const WIDTH = 960;
const HEIGHT = 480;
const MARGIN = { top: 84, right: 28, bottom: 56, left: 68 };
const INK = { text: "#24292f", quiet: "#6e7781", grid: "#eaeef2", possible: "#afb8c1" };
const COLOURS = ["#1f6feb", "#d1570b", "#8250df", "#1a7f37", "#cf222e", "#9a6700"];

/**
 * @param words.title for people, as is `unit`; no character that XML gives a meaning.
 * @param words.unit what `value` counts.
 * @returns a whole SVG document, 960 × 480.
 */
export function plotThroughput(
  curves: readonly ThroughputCurve[],
  words: { readonly title: string; readonly unit: string },
): string {
  const points = curves.flatMap((curve) => curve.points);
  const x = scaleLinear([0, Math.max(1, ...points.map(({ hour }) => hour))], [
    MARGIN.left,
    WIDTH - MARGIN.right,
  ]);
  const y = scaleLinear([0, Math.max(1, ...points.map(({ value }) => value))], [
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
  ]).nice();
  const path = line<ThroughputCurve["points"][number]>(({ hour }) => x(hour), ({ value }) => y(value))
    .curve(curveStepAfter).digits(1);
  let told = 0;
  const colours = curves.map(({ possible }) => possible ? INK.possible : COLOURS[told++ % COLOURS.length]);
  const width = (WIDTH - MARGIN.left - MARGIN.right) / Math.max(1, curves.length);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}"` +
    ` font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="${INK.text}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<text x="${MARGIN.left}" y="30" font-size="16" font-weight="600">${words.title}</text>`,
    ...y.ticks(6).map((tick) =>
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(tick)}" y2="${
        y(tick)
      }" stroke="${INK.grid}"/>` +
      `<text x="${MARGIN.left - 8}" y="${y(tick) + 4}" text-anchor="end" fill="${INK.quiet}">${tick}</text>`
    ),
    ...x.ticks(8).map((tick) =>
      `<text x="${x(tick)}" y="${
        HEIGHT - MARGIN.bottom + 20
      }" text-anchor="middle" fill="${INK.quiet}">${tick}</text>`
    ),
    `<text x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${
      HEIGHT - 12
    }" text-anchor="middle">hours</text>`,
    `<text transform="translate(20 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${words.unit}</text>`,
    ...curves.map(({ name, possible, points }, index) => {
      const left = MARGIN.left + index * width;
      return `<path d="${path(points)}" fill="none" stroke="${colours[index]}" stroke-width="${
        possible ? 3 : 1.5
      }"/>` +
        `<rect x="${left}" y="50" width="12" height="12" rx="2" fill="${colours[index]}"/>` +
        `<text x="${left + 18}" y="61" fill="${INK.quiet}">${name}</text>`;
    }),
    "</svg>",
  ].join("\n") + "\n";
}
