/** The loss curve as characters, for a terminal. It knows no terminal: the size is told. */

import { plot } from "asciichart";
import type { LossPoint } from "./history.ts";
import { loss } from "./format.ts";

/** Columns that asciichart takes for its scale: seven for the number, one for the axis. */
const SCALE_COLUMNS = 9;

/**
 * Draws a curve, oldest point left, over a line that says which steps it spans.
 *
 * @param size columns and rows to stay within; at least 20 and 3 are used.
 * @returns lines without a last line break; empty if there is no point.
 */
export function chart(points: readonly LossPoint[], size: { columns: number; rows: number }): string {
  const finite = points.filter((point) => Number.isFinite(point.loss));
  if (finite.length === 0) return "";
  const columns = Math.max(20, size.columns) - SCALE_COLUMNS;
  const values = resample(finite.map((point) => point.loss), columns);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const drawn = plot(values, {
    // A level line has no height to divide by.
    ...high - low < 1e-6 ? { min: low - 0.5, max: high + 0.5 } : {},
    height: Math.max(3, size.rows) - 2,
    format: (value: number) => loss(value).slice(0, SCALE_COLUMNS - 2).padStart(SCALE_COLUMNS - 2),
  });
  const [first, last] = [`step ${finite[0]!.step}`, `step ${finite.at(-1)!.step}`];
  const gap = " ".repeat(Math.max(1, columns - first.length - last.length));
  return `${drawn}\n${" ".repeat(SCALE_COLUMNS)}${first}${gap}${last}`;
}

/**
 * Fits values to a width: each column is the mean of the values that fall into
 * it; where there are fewer values than columns, it lies on the line between two.
 *
 * @returns exactly `columns` values.
 */
export function resample(values: readonly number[], columns: number): number[] {
  return Array.from({ length: columns }, (_, column) => {
    if (values.length <= columns) {
      const place = columns === 1 ? 0 : column * (values.length - 1) / (columns - 1);
      const [left, right] = [values[Math.floor(place)]!, values[Math.ceil(place)]!];
      return left + (right - left) * (place - Math.floor(place));
    }
    const from = Math.floor(column * values.length / columns);
    const to = Math.floor((column + 1) * values.length / columns);
    return values.slice(from, to).reduce((sum, value) => sum + value, 0) / (to - from);
  });
}
