/**
 * The loss curve as a picture: SVG text, drawn from a history alone, so that
 * the same run gives the same picture. It reads no file and writes none.
 */

import { type ScaleLinear, scaleLinear } from "d3-scale";
import { line } from "d3-shape";
import { type History, type LossPoint, smooth } from "./history.ts";
import { loss } from "./format.ts";

const WIDTH = 960;
const HEIGHT = 540;
const MARGIN = { top: 76, right: 28, bottom: 60, left: 68 };
const INK = { text: "#24292f", quiet: "#6e7781", grid: "#eaeef2", train: "#a5c8f0", smooth: "#1f6feb" };
const MARKS = { validation: "#d1570b", lost: "#cf222e", joined: "#1a7f37" };

/** Neighbours on either side that the smoothed curve takes in, as a share of the curve. */
const SMOOTHING_SHARE = 1 / 80;
/** Joins this early in a run are its beginning, and no event in it. */
const BEGINNING_SHARE = 0.02;

/** Beyond it differences are lost in the scale's own rounding. */
const LOSS_SHOWN_MAX = 1e12;

type Scale = ScaleLinear<number, number>;

/**
 * Draws training loss (light), the same smoothed, validation loss (points), and
 * the moments at which hosts were lost or joined.
 *
 * @param words.title the run's name, say; any text.
 * @param words.subtitle one line under it.
 * @returns a whole SVG document, 960 × 540.
 */
export function plotLoss(history: History, words: { title: string; subtitle: string }): string {
  const losses = history.losses.filter(finite);
  const validations = history.validations.filter(finite);
  const steps = [...losses, ...validations].map((point) => point.step);
  const [low, high] = lossBounds(losses, validations);
  const x = scaleLinear([Math.min(0, ...steps), Math.max(1, ...steps)], [MARGIN.left, WIDTH - MARGIN.right]);
  const y = scaleLinear([low, high], [HEIGHT - MARGIN.bottom, MARGIN.top]).nice();
  const path = line<LossPoint>((point) => x(point.step), (point) => y(Math.min(point.loss, y.domain()[1]!)));
  const smoothed = smooth(losses, losses.length * SMOOTHING_SHARE);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}"`,
    ` font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="${INK.text}">`,
    `<title>${escape(words.title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    label(MARGIN.left, 30, words.title, `font-size="18" font-weight="600"`),
    label(MARGIN.left, 50, words.subtitle, `fill="${INK.quiet}"`),
    legend(history),
    axes(x, y),
    ...marks(history, x),
    losses.length > 0 ? `<path d="${path(losses)}" fill="none" stroke="${INK.train}"/>` : "",
    losses.length > 0
      ? `<path d="${path(smoothed)}" fill="none" stroke="${INK.smooth}" stroke-width="2"/>`
      : "",
    ...validations.map(({ step, loss: value }) =>
      `<circle cx="${round(x(step))}" cy="${
        round(y(value))
      }" r="3.5" fill="${MARKS.validation}" stroke="white">` +
      `<title>step ${step}: validation ${loss(value)}</title></circle>`
    ),
    losses.length + validations.length === 0
      ? label(WIDTH / 2, HEIGHT / 2, "No step has been taken", `text-anchor="middle" fill="${INK.quiet}"`)
      : "",
    "</svg>",
  ].filter((part) => part !== "").join("\n") + "\n";
}

/** Numbers of the scales, their lines, and what they mean. */
function axes(x: Scale, y: Scale): string {
  const [left, right] = x.range() as [number, number];
  const [bottom, top] = y.range() as [number, number];
  return [
    ...y.ticks(6).map((tick) =>
      `<line x1="${left}" x2="${right}" y1="${round(y(tick))}" y2="${
        round(y(tick))
      }" stroke="${INK.grid}"/>` +
      label(left - 10, y(tick) + 4, y.tickFormat(6)(tick), `text-anchor="end" fill="${INK.quiet}"`)
    ),
    `<line x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}" stroke="${INK.quiet}"/>`,
    ...x.ticks(8).filter(Number.isInteger).map((tick) =>
      `<line x1="${round(x(tick))}" x2="${round(x(tick))}" y1="${bottom}" y2="${
        bottom + 5
      }" stroke="${INK.quiet}"/>` +
      label(x(tick), bottom + 20, x.tickFormat(8)(tick), `text-anchor="middle" fill="${INK.quiet}"`)
    ),
    label((left + right) / 2, bottom + 44, "optimizer steps", `text-anchor="middle"`),
    `<text transform="translate(20 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">` +
    "cross-entropy, nats per token</text>",
  ].join("\n");
}

/** When a host was lost or joined: a line through the plot, with the stage at its head. */
function marks(history: History, x: Scale): string[] {
  const beginning = x.domain()[1]! * BEGINNING_SHARE;
  return history.marks.filter((mark) => mark.kind === "lost" || mark.step > beginning).map((mark) => {
    const at = round(x(mark.step));
    const what = `step ${mark.step}: a host of stage ${mark.stage} ${
      mark.kind === "lost" ? "was lost" : "joined"
    }`;
    const [colour, sign] = mark.kind === "lost" ? [MARKS.lost, "−"] : [MARKS.joined, "+"];
    return `<g><title>${what}</title><line x1="${at}" x2="${at}" y1="${MARGIN.top}" y2="${
      HEIGHT - MARGIN.bottom
    }" ` +
      `stroke="${colour}" stroke-dasharray="3 3" stroke-opacity="0.7"/>` +
      label(
        at,
        MARGIN.top - 5,
        `${sign}${mark.stage}`,
        `text-anchor="middle" font-size="11" fill="${colour}"`,
      ) + "</g>";
  });
}

/** What is drawn here, and only that, in the upper right corner. */
function legend(history: History): string {
  const kinds = new Set(history.marks.map((mark) => mark.kind));
  const entries = [
    { words: "training", colour: INK.train, shown: history.losses.length > 0 },
    { words: "smoothed", colour: INK.smooth, shown: history.losses.length > 0 },
    { words: "validation", colour: MARKS.validation, shown: history.validations.length > 0 },
    { words: "host lost", colour: MARKS.lost, shown: kinds.has("lost") },
    { words: "host joined", colour: MARKS.joined, shown: kinds.has("joined") },
  ].filter((entry) => entry.shown);
  const spacing = 102;
  const left = WIDTH - MARGIN.right - spacing * entries.length;
  return entries.map(({ words, colour }, index) =>
    `<rect x="${left + spacing * index}" y="21" width="12" height="12" rx="2" fill="${colour}"/>` +
    label(left + spacing * index + 18, 31, words, `fill="${INK.quiet}"`)
  ).join("\n");
}

/** From the least value to the greatest, a single early spike left out: it would flatten all the rest. */
function lossBounds(losses: readonly LossPoint[], validations: readonly LossPoint[]): [number, number] {
  const values = [...losses, ...validations].map((point) => point.loss).sort((a, b) => a - b);
  if (values.length === 0) return [0, 1];
  const [low, high] = [values[0]!, values[Math.floor((values.length - 1) * 0.999)]!];
  const size = Math.max(1, Math.abs(low), Math.abs(high));
  // A level line has no height of its own to be drawn in.
  return high - low > size * 1e-6 ? [low, high] : [low - size / 2, high + size / 2];
}

function label(x: number, y: number, text: string, attributes: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escape(text)}</text>`;
}

/** A run that has blown up: its curve ends where it did, or the scale would show nothing else. */
function finite(point: LossPoint): boolean {
  return Math.abs(point.loss) < LOSS_SHOWN_MAX;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** A run's name comes from a stranger, and the picture may be shown in a browser. */
function escape(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&apos;",
  };
  // deno-lint-ignore no-control-regex -- XML knows no control characters
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "?").replace(
    /[&<>"']/g,
    (sign) => entities[sign]!,
  );
}
