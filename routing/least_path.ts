/**
 * The quickest way through all stages: one host for each, so that the sum of the
 * times at the hosts and on the links between them, home and back, is least. It
 * knows no host and no network, only what it is told that they cost.
 */

/** What a way costs, in milliseconds or any other unit. */
export interface PathCosts<Host> {
  /** Time at a host. */
  readonly stepMs: (host: Host) => number;
  /** Time from one to the next; `undefined` is home. */
  readonly linkMs: (from: Host | undefined, to: Host | undefined) => number;
}

/** A way, and what it costs. */
export interface LeastPath<Host> {
  /** One host for each stage. */
  readonly path: readonly Host[];
  /** Sum of all its steps and links. */
  readonly ms: number;
}

interface Reached<Host> {
  readonly host: Host;
  readonly ms: number;
  readonly before: Reached<Host> | undefined;
}

/**
 * The least of all ways, by dynamic programming: the best way to a host goes through the best way to one of
 * the stage before. Of equals the first named wins. O(H²) for each stage of H hosts.
 *
 * @param stages hosts of each stage, at least one stage.
 * @returns `undefined` if some stage has nobody.
 */
export function leastPath<Host>(
  stages: readonly (readonly Host[])[],
  { stepMs, linkMs }: PathCosts<Host>,
): LeastPath<Host> | undefined {
  let reached: readonly Reached<Host>[] | undefined;
  for (const hosts of stages) {
    const before = reached;
    reached = hosts.map((host) => {
      const best = before === undefined
        ? { from: undefined, ms: linkMs(undefined, host) }
        : leastOf(before, (one) => one.ms + linkMs(one.host, host));
      return { host, ms: best.ms + stepMs(host), before: best.from };
    });
    if (reached.length === 0) return undefined;
  }
  const { from: last, ms } = leastOf(reached!, (one) => one.ms + linkMs(one.host, undefined));
  const path: Host[] = [];
  for (let one: Reached<Host> | undefined = last; one !== undefined; one = one.before) path.unshift(one.host);
  return { path, ms };
}

function leastOf<Item>(items: readonly Item[], msOf: (item: Item) => number): { from: Item; ms: number } {
  let from = items[0];
  let ms = msOf(from);
  for (let index = 1; index < items.length; index++) {
    const other = msOf(items[index]);
    if (other < ms) [from, ms] = [items[index], other];
  }
  return { from, ms };
}
