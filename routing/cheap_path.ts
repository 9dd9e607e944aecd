/**
 * The cheapest way through all stages among those that take hardly longer than the
 * quickest. Money and time are weighed against each other at a few rates; the best
 * that keeps within the bound is taken. It knows no host and no network.
 */

import { leastPath } from "./least_path.ts";

/** A host, as far as a choice of paths looks at it. */
export interface PricedHost {
  readonly peer: string;
  readonly stepMs: number;
  /** For a token. */
  readonly priceUnits: number;
}

/** A cheaper path may take so many times as long as the quickest. */
export const SLOWER_MAX = 1.5;

/** From "time is nearly all" to "money is nearly all". */
const RATES = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 64];

/**
 * The path; where all cost the same it is the quickest.
 *
 * @param stages hosts of each stage; each has at least one.
 * @param linkMs milliseconds from one to the next; `undefined` is home.
 */
export function cheapPath<Host extends PricedHost>(
  stages: readonly (readonly Host[])[],
  linkMs: (from: Host | undefined, to: Host | undefined) => number,
): readonly Host[] {
  const quickest = leastPath(stages, { stepMs: ({ stepMs }) => stepMs, linkMs })!;
  let best = quickest.path;
  if (stages.every(([first, ...others]) => others.every((it) => it.priceUnits === first.priceUnits))) {
    return best;
  }
  const boundMs = SLOWER_MAX * quickest.ms;
  // A rate of 1 weighs all the money of the dearest path as much as all the time of the quickest.
  const dearest = stages.reduce((sum, hosts) => sum + Math.max(...hosts.map((it) => it.priceUnits)), 0);
  for (const rate of RATES) {
    const msPerUnit = rate * quickest.ms / dearest;
    const stepMs = ({ stepMs, priceUnits }: Host) => stepMs + msPerUnit * priceUnits;
    const { path } = leastPath(stages, { stepMs, linkMs })!;
    if (timeOf(path, linkMs) <= boundMs && priceOf(path) < priceOf(best)) best = path;
  }
  return best;
}

function priceOf(path: readonly PricedHost[]): number {
  return path.reduce((sum, { priceUnits }) => sum + priceUnits, 0);
}

function timeOf<Host extends PricedHost>(
  path: readonly Host[],
  linkMs: (from: Host | undefined, to: Host | undefined) => number,
): number {
  return path.reduce(
    (sum, host, at) => sum + linkMs(path[at - 1], host) + host.stepMs,
    linkMs(path.at(-1), undefined),
  );
}
