/**
 * How long a token takes: what is known of the times at hosts and on the links
 * between them, as one home sees it. It starts from the round trips between home
 * and hosts, and is refined by every token that comes back. It chooses nobody.
 */

/** Weight of the newest sample: the last five or so decide. */
const WEIGHT = 0.2;

/** Milliseconds to a host of which nothing is known while nothing is known of any: another town. */
const DISTANCE_MS_UNKNOWN = 10;
/** Milliseconds at a host of which nothing is known while nothing is known of any: a small stage. */
const STEP_MS_UNKNOWN = 10;

/** What a host may say that a token takes, in milliseconds: nobody waits for one longer. Sums of it stay numbers. */
const STEP_MS_MAX = 600_000;

/** Links between hosts that are remembered. */
export const LINKS_MAX = 4096;

/** What a token on its way through all stages took. */
export interface Passage {
  /** One host for each stage. */
  readonly path: readonly string[];
  /** New tokens that were computed for it: one, or a prompt. */
  readonly tokens: number;
  /** From sending it until the answer came. */
  readonly totalMs: number;
  /** Of these at each host, waiting included. Too few of them, or too long ones, are a lie, and not used. */
  readonly spentMs: readonly number[];
  /** Texts that each host has of this home: what it took is shared among them. */
  readonly sharing: readonly number[];
}

interface Host {
  /** From home to it, or back. */
  distanceMs: number | undefined;
  /** For one token of one text. */
  stepMs: number | undefined;
  /** For each token of a prompt. */
  promptMsPerToken: number | undefined;
}

/** What one home knows. */
export class Latency {
  readonly #hosts = new Map<string, Host>();
  /** By both ends, in either order; that which was used last stands last. */
  readonly #links = new Map<string, number>();

  /** Whether it is known how far away the peer is. */
  knows(peer: string): boolean {
    return this.#hosts.get(peer)?.distanceMs !== undefined;
  }

  /** It answered after so long. Something else may have made that longer, nothing makes it shorter than it is. */
  answered(peer: string, roundTripMs: number): void {
    const host = this.#host(peer);
    const distanceMs = Math.max(0, roundTripMs) / 2;
    host.distanceMs = Math.min(distanceMs, smoothed(host.distanceMs, distanceMs));
  }

  /** It says how long a token takes there: that is believed until a token of this home has been there. */
  told(peer: string, secondsPerToken: number): void {
    this.#host(peer).stepMs ??= Math.min(1000 * secondsPerToken, STEP_MS_MAX);
  }

  /** A token came back. */
  passed({ path, tokens, totalMs, spentMs, sharing }: Passage): void {
    const atHostsMs = spentMs.reduce((sum, ms) => sum + ms, 0);
    if (spentMs.length !== path.length || atHostsMs > totalMs) return;
    path.forEach((peer, stage) => {
      const host = this.#host(peer);
      if (tokens > 1) host.promptMsPerToken = smoothed(host.promptMsPerToken, spentMs[stage] / tokens);
      else host.stepMs = smoothed(host.stepMs, spentMs[stage] / Math.max(1, sharing[stage]));
    });
    // What a prompt takes on a link says more about its width than about its length.
    if (tokens === 1) this.#shareOut(path, totalMs - atHostsMs);
  }

  /** What is known of it may be wrong by now. */
  forget(peer: string): void {
    this.#hosts.delete(peer);
    for (const key of [...this.#links.keys()]) if (key.split(" ").includes(peer)) this.#links.delete(key);
  }

  /** Milliseconds that one token of one text takes at a host; what the quickest takes, if nothing is known of it. */
  stepMs(peer: string): number {
    const known = this.#hosts.get(peer)?.stepMs;
    if (known !== undefined) return known;
    let least = Infinity;
    for (const { stepMs } of this.#hosts.values()) least = Math.min(least, stepMs ?? Infinity);
    return least === Infinity ? STEP_MS_UNKNOWN : least;
  }

  /**
   * Milliseconds from one peer to another; `undefined` is home.
   *
   * Between two hosts no more is known at first than how far both are from home. Their distance lies somewhere
   * between the difference and the sum of those: the greater of them is in the middle, whatever the other one is.
   */
  linkMs(from: string | undefined, to: string | undefined): number {
    if (from === undefined) return to === undefined ? 0 : this.#distanceMs(to);
    if (to === undefined) return this.#distanceMs(from);
    return this.#links.get(keyOf(from, to)) ?? Math.max(this.#distanceMs(from), this.#distanceMs(to));
  }

  /** Milliseconds until a token comes back, after so many new ones were sent. */
  expectedMs(path: readonly string[], tokens: number): number {
    let ms = this.linkMs(path.at(-1), undefined);
    path.forEach((peer, stage) => {
      const stepMs = this.stepMs(peer);
      const perTokenMs = this.#hosts.get(peer)?.promptMsPerToken ?? stepMs;
      ms += this.linkMs(path[stage - 1], peer) +
        (tokens > 1 ? Math.max(stepMs, tokens * perTokenMs) : stepMs);
    });
    return ms;
  }

  /** Nobody can tell which link took how much of the time: each as much of it as it was thought to take. */
  #shareOut(path: readonly string[], onLinksMs: number): void {
    const ends = [
      ...path.map((peer, stage) => [path[stage - 1], peer] as const),
      [path.at(-1), undefined] as const,
    ];
    const estimates = ends.map(([from, to]) => this.linkMs(from, to));
    const sum = estimates.reduce((all, ms) => all + ms, 0);
    ends.forEach(([from, to], index) => {
      const share = sum > 0 ? estimates[index] / sum : 1 / ends.length;
      const ms = smoothed(estimates[index], onLinksMs * share);
      if (from !== undefined && to !== undefined) return this.#setLink(keyOf(from, to), ms);
      const host = this.#host((from ?? to)!);
      // To the only host of a path and back is one link, seen twice.
      host.distanceMs = path.length === 1 ? smoothed(host.distanceMs, onLinksMs / 2) : ms;
    });
  }

  #setLink(key: string, ms: number): void {
    this.#links.delete(key);
    this.#links.set(key, ms);
    if (this.#links.size > LINKS_MAX) this.#links.delete(this.#links.keys().next().value!);
  }

  /** Of a host that has not answered yet nothing good is expected. */
  #distanceMs(peer: string): number {
    const known = this.#hosts.get(peer)?.distanceMs;
    if (known !== undefined) return known;
    let most: number | undefined;
    for (const { distanceMs } of this.#hosts.values()) {
      if (distanceMs !== undefined) most = Math.max(most ?? 0, distanceMs);
    }
    return most ?? DISTANCE_MS_UNKNOWN;
  }

  #host(peer: string): Host {
    let host = this.#hosts.get(peer);
    if (host === undefined) {
      host = { distanceMs: undefined, stepMs: undefined, promptMsPerToken: undefined };
      this.#hosts.set(peer, host);
    }
    return host;
  }
}

function keyOf(one: string, other: string): string {
  return one < other ? `${one} ${other}` : `${other} ${one}`;
}

function smoothed(before: number | undefined, sample: number): number {
  return before === undefined ? sample : before + WEIGHT * (sample - before);
}
