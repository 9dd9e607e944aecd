/**
 * What a host measures of its own work: seconds that it computes for a
 * micro-batch, there and back, waiting not counted. It knows no clock; whoever
 * computes tells how long it took.
 */

/** Weight of the newest sample: the last ten or so decide. */
const WEIGHT = 0.1;

/** The two halves of a micro-batch's work. */
export type Half = "forward" | "backward";

/** The work of one host at one stage. */
export class Workload {
  readonly #seconds = new Map<Half, number>();

  /** One half took so long. */
  took(half: Half, seconds: number): void {
    const before = this.#seconds.get(half);
    this.#seconds.set(half, before === undefined ? seconds : (1 - WEIGHT) * before + WEIGHT * seconds);
  }

  /** Seconds for a whole micro-batch; `undefined` until each half was done once. */
  get secondsPerMicroBatch(): number | undefined {
    const forward = this.#seconds.get("forward");
    const backward = this.#seconds.get("backward");
    return forward === undefined || backward === undefined ? undefined : forward + backward;
  }

  /** Seconds of work that wait: so many passes each way. What was never measured counts as nothing. */
  secondsOf(forwards: number, backwards: number): number {
    return forwards * (this.#seconds.get("forward") ?? 0) + backwards * (this.#seconds.get("backward") ?? 0);
  }
}
