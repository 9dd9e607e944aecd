/** What more hosts cost each of them, as a picture: SVG text over a logarithmic scale of hosts. It reads no file and writes none. */

import { scaleLinear, scaleLog } from "d3-scale";
import { line } from "d3-shape";

/** One swarm. */
export interface ScalePoint {
  readonly hosts: number;
  /** Messages of walks and steps, for each host and micro-batch. */
  readonly messagesOfWork: number;
  /** All other messages, for each host and second. */
  readonly messagesOfPresence: number;
  /** Mean hops of a look-up, and the questions that it asks. */
  readonly hops: number;
  readonly questions: number;
}

const WIDTH = 960;
const PANEL = { height: 300, top: 56, bottom: 44, left: 68, right: 40 };
const INK = { text: "#24292f", quiet: "#6e7781", grid: "#eaeef2", log: "#afb8c1" };

type Curve = { readonly name: string; readonly colour: string; readonly of: (point: ScalePoint) => number };

const PANELS: readonly {
  readonly title: string;
  readonly unit: string;
  readonly curves: readonly Curve[];
}[] = [
  {
    title: "Messages of a host",
    unit: "messages",
    curves: [
      { name: "for each micro-batch", colour: "#1f6feb", of: ({ messagesOfWork }) => messagesOfWork },
      {
        name: "each second, to be there",
        colour: "#d1570b",
        of: ({ messagesOfPresence }) => messagesOfPresence,
      },
    ],
  },
  {
    title: "Look-ups in the table",
    unit: "hops",
    curves: [
      { name: "hops", colour: "#1a7f37", of: ({ hops }) => hops },
      { name: "a third of log₂ of the hosts", colour: INK.log, of: ({ hosts }) => Math.log2(hosts) / 3 },
    ],
  },
];

/** @returns a whole SVG document, two panels one above the other. */
export function plotScale(points: readonly ScalePoint[]): string {
  const height = PANEL.height * PANELS.length;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"` +
    ` font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="${INK.text}">`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    ...PANELS.map((panel, index) =>
      `<g transform="translate(0 ${index * PANEL.height})">${draw(panel, points)}</g>`
    ),
    "</svg>",
  ].join("\n") + "\n";
}

function draw({ title, unit, curves }: (typeof PANELS)[number], points: readonly ScalePoint[]): string {
  const hosts = points.map((point) => point.hosts);
  const values = curves.flatMap(({ of }) => points.map(of));
  const x = scaleLog([Math.min(100, ...hosts), Math.max(1000, ...hosts)], [PANEL.left, WIDTH - PANEL.right]);
  const y = scaleLinear([0, Math.max(1, ...values)], [PANEL.height - PANEL.bottom, PANEL.top]).nice();
  const round = (value: number) => Math.round(value * 10) / 10;
  return [
    `<text x="${PANEL.left}" y="26" font-size="16" font-weight="600">${title}</text>`,
    ...y.ticks(5).map((tick) =>
      `<line x1="${PANEL.left}" x2="${WIDTH - PANEL.right}" y1="${round(y(tick))}" y2="${
        round(y(tick))
      }" stroke="${INK.grid}"/>` +
      `<text x="${PANEL.left - 8}" y="${
        round(y(tick)) + 4
      }" text-anchor="end" fill="${INK.quiet}">${tick}</text>`
    ),
    ...hosts.map((count) =>
      `<text x="${round(x(count))}" y="${
        PANEL.height - PANEL.bottom + 18
      }" text-anchor="middle" fill="${INK.quiet}">${count.toLocaleString("en-US")} hosts</text>`
    ),
    `<text transform="translate(20 ${PANEL.height / 2}) rotate(-90)" text-anchor="middle">${unit}</text>`,
    ...curves.map(({ name, colour, of }, index) => {
      const path = line<ScalePoint>((point) => x(point.hosts), (point) => y(of(point))).digits(1);
      const left = PANEL.left + 260 + 240 * index;
      return `<path d="${path(points) ?? ""}" fill="none" stroke="${colour}" stroke-width="2"/>` +
        points.map((point) =>
          `<circle cx="${round(x(point.hosts))}" cy="${round(y(of(point)))}" r="3.5" fill="${colour}"/>`
        ).join("") +
        `<rect x="${left}" y="16" width="12" height="12" rx="2" fill="${colour}"/>` +
        `<text x="${left + 18}" y="26" fill="${INK.quiet}">${name}</text>`;
    }),
  ].join("\n");
}
