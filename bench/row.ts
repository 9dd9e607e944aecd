/**
 * What every benchmark yields: rows of a table, each a figure with what it is
 * to be compared with. It measures nothing and prints nothing.
 */

import type { Clock } from "../actors/core/clock.ts";

/** Where a figure should lie; one of the two bounds is enough. */
export interface Target {
  /** Which of the row's figures is meant. */
  readonly of: "value" | "ratio";
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One line of a benchmark's table. */
export interface BenchRow {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What was measured, by what the same run measured of something known. */
  readonly ratio?: number;
  /** The something known. */
  readonly to?: string;
  /** Without it the row is there to explain others. */
  readonly target?: Target;
  /** What was measured, for programs that measure the same elsewhere; only `--json` shows it. */
  readonly subject?: Readonly<Record<string, string | number>>;
}

/** What a benchmark is given to work with. */
export interface BenchContext {
  readonly clock: Clock;
  /** Few rounds: shows that everything works, and its figures say little. */
  readonly quick: boolean;
  /** Tells a person what goes on. */
  readonly note: (words: string) => void;
  /** Aborted when somebody wants the benchmark to end; it then throws the reason, with all that it started gone. */
  readonly signal: AbortSignal;
}

/** One benchmark: its rows come one by one, as soon as they are known. */
export type Bench = (context: BenchContext) => AsyncGenerator<BenchRow, void, void>;

/** Whether the row's figure lies where it should; `undefined` where nothing is asked of it. */
export function isMet({ value, ratio, target }: BenchRow): boolean | undefined {
  if (target === undefined) return undefined;
  const figure = target.of === "value" ? value : ratio ?? NaN;
  return figure >= (target.atLeast ?? -Infinity) && figure <= (target.atMost ?? Infinity);
}

/** The one in the middle; of an even number the mean of the two in the middle; NaN of none. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
