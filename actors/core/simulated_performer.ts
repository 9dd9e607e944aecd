/**
 * Work on virtual time. What is computed is real; how long it took is what the
 * cost model says, so that the machine's speed leaves no mark on the result.
 *
 * Simulated work must not wait for virtual time (a timer, a message): time
 * stands still until the work has ended.
 */

import type { PeerId, Work } from "./actor.ts";
import type { Clock } from "./clock.ts";
import { type Outcome, outcomeOf, type Performer } from "./performer.ts";

/** What work costs a simulated peer. */
export interface CostModel {
  /** How long the work takes, alone. Finite and not negative. */
  durationMs(peer: PeerId, work: Work): number;
  /**
   * Which of the peer's lanes it occupies. Work of one lane queues up, in the order
   * in which it was started; work without a lane waits for nobody.
   */
  lane(peer: PeerId, work: Work): string | undefined;
}

/** Hands a job to whoever awaits jobs one at a time, in order. */
export type JobQueue = (job: () => Promise<void>) => void;

/** The lanes of one peer. */
export class SimulatedPerformer implements Performer {
  readonly #peer: PeerId;
  readonly #clock: Clock;
  readonly #costs: CostModel;
  readonly #enqueue: JobQueue;
  readonly #laneFreeAtMs = new Map<string, number>();

  /** @param enqueue hands over each job, to be awaited in order before time moves. */
  constructor(peer: PeerId, clock: Clock, costs: CostModel, enqueue: JobQueue) {
    this.#peer = peer;
    this.#clock = clock;
    this.#costs = costs;
    this.#enqueue = enqueue;
  }

  /**
   * Books the work's place in its lane; `done` is called when its cost has passed.
   *
   * @throws {RangeError} if the cost model's answer is not a duration.
   */
  perform<Value>(
    work: Work,
    run: () => Promise<Value>,
    done: (outcome: Outcome<Value>) => void,
  ): void {
    const endsAtMs = this.#book(work);
    this.#enqueue(async () => {
      const outcome = await outcomeOf(run);
      this.#clock.after(endsAtMs - this.#clock.nowMs(), () => done(outcome));
    });
  }

  /** Takes the work's place in its lane, and answers when it will end. */
  #book(work: Work): number {
    const durationMs = this.#costs.durationMs(this.#peer, work);
    if (!Number.isFinite(durationMs) || durationMs < 0) {
      throw new RangeError(`Cannot perform ${work.kind}: its cost is ${durationMs} ms`);
    }
    const lane = this.#costs.lane(this.#peer, work);
    const nowMs = this.#clock.nowMs();
    if (lane === undefined) return nowMs + durationMs;
    const endsAtMs = Math.max(nowMs, this.#laneFreeAtMs.get(lane) ?? nowMs) + durationMs;
    this.#laneFreeAtMs.set(lane, endsAtMs);
    return endsAtMs;
  }
}
