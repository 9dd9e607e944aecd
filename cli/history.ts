/**
 * What has happened to a run so far, gathered from its events: the loss curve,
 * the validations, who came and went, who did how much. Bounded whatever the
 * length of the run: a long curve is kept at a coarser grain. It shows nothing.
 */

import type { RunEvent } from "../actors/report.ts";

/** Points of a curve that are kept: twice what the widest plot can show. */
export const POINTS_MAX = 4096;
/** Joins and losses that are kept, the latest: more would hide the curve. */
const MARKS_MAX = 256;
/** Hosts whose work is told apart; more than a wire holds peers. */
const WORKERS_MAX = 1024;

/** Mean loss over `stride` steps that end at `step`. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

/** A host that joined or was lost. */
export interface Mark {
  readonly kind: "joined" | "lost";
  readonly step: number;
  readonly stage: number;
  readonly peer: string;
}

/** What one host did. */
export interface Worker {
  readonly peer: string;
  /** `undefined` where its joining was not seen. */
  readonly stage: number | undefined;
  readonly microBatches: number;
  readonly lost: boolean;
}

/** A curve that never outgrows {@link POINTS_MAX}: when it would, neighbours are merged in pairs. */
class Curve {
  readonly points: LossPoint[] = [];
  #stride = 1;
  #pending: number[] = [];

  add(step: number, loss: number): void {
    this.#pending.push(loss);
    if (this.#pending.length < this.#stride) return;
    this.points.push({ step, loss: mean(this.#pending) });
    this.#pending = [];
    if (this.points.length < POINTS_MAX) return;
    for (let pair = 0; pair < POINTS_MAX / 2; pair++) {
      const [earlier, later] = [this.points[2 * pair]!, this.points[2 * pair + 1]!];
      this.points[pair] = { step: later.step, loss: (earlier.loss + later.loss) / 2 };
    }
    this.points.length = POINTS_MAX / 2;
    this.#stride *= 2;
  }
}

/** Gathers events; give it every one of them, in their order. */
export class History {
  readonly #losses = new Curve();
  readonly #validations = new Curve();
  readonly #marks: Mark[] = [];
  readonly #workers = new Map<string, { stage: number | undefined; microBatches: number; lost: boolean }>();
  #tokens = 0;
  #seconds = 0;
  #replays = 0;
  #steps = 0;

  add(event: RunEvent): void {
    switch (event.kind) {
      case "step":
        this.#losses.add(event.step, event.loss);
        this.#steps++;
        this.#tokens += event.tokens;
        this.#seconds += event.seconds;
        this.#replays += event.replays;
        for (const [peer, count] of Object.entries(event.served)) {
          this.#worker(peer, (w) => w.microBatches += count);
        }
        return;
      case "validation":
        return this.#validations.add(event.step, event.loss);
      case "joined":
      case "lost": {
        const { kind, step, stage, peer } = event;
        if (this.#marks.length === MARKS_MAX) this.#marks.shift();
        this.#marks.push({ kind, step, stage, peer });
        return this.#worker(peer, (worker) => {
          worker.stage = stage;
          worker.lost = kind === "lost";
        });
      }
      case "moved":
      case "waiting":
      case "leading":
      case "following":
      case "done":
      case "failed":
        return;
      default:
        event satisfies never;
    }
  }

  /** Training loss, oldest first; of a long run every point is the mean of several steps. */
  get losses(): readonly LossPoint[] {
    return this.#losses.points;
  }

  /** Validation loss, oldest first. */
  get validations(): readonly LossPoint[] {
    return this.#validations.points;
  }

  /** Who came and went, oldest first. */
  get marks(): readonly Mark[] {
    return this.#marks;
  }

  /** Who did how much, by stage, then in the order of their appearance. */
  get workers(): readonly Worker[] {
    return [...this.#workers].map(([peer, worker]) => ({ peer, ...worker }))
      .sort((a, b) => (a.stage ?? Infinity) - (b.stage ?? Infinity) || 0);
  }

  /** Steps that were seen. */
  get steps(): number {
    return this.#steps;
  }

  /** Micro-batches that had to be sent again. */
  get replays(): number {
    return this.#replays;
  }

  /** Mean over all steps, the time between them left out; 0 before the first. */
  get tokensPerSecond(): number {
    return this.#seconds === 0 ? 0 : this.#tokens / this.#seconds;
  }

  #worker(
    peer: string,
    change: (worker: { stage: number | undefined; microBatches: number; lost: boolean }) => void,
  ): void {
    let worker = this.#workers.get(peer);
    if (worker === undefined) {
      if (this.#workers.size === WORKERS_MAX) return;
      worker = { stage: undefined, microBatches: 0, lost: false };
      this.#workers.set(peer, worker);
    }
    change(worker);
  }
}

/**
 * The curve without its noise: each point is the mean of its neighbours on both
 * sides, so that it does not trail behind a curve that falls.
 *
 * @param reach neighbours on either side; fewer, and always as many left as right, near the ends.
 */
export function smooth(points: readonly LossPoint[], reach: number): LossPoint[] {
  const sums = [0];
  for (const { loss } of points) sums.push(sums.at(-1)! + loss);
  return points.map(({ step }, index) => {
    const side = Math.floor(Math.max(0, Math.min(reach, index, points.length - 1 - index)));
    return { step, loss: (sums[index + side + 1]! - sums[index - side]!) / (2 * side + 1) };
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
