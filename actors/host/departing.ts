/**
 * How a host leaves that was told to: it stays until the step that it takes part in is over and others can
 * do without it, but not for ever; then its state is on its disk, and it is gone. Who can do without it is
 * for the coordinator to say.
 */

import type { Context } from "../core/actor.ts";
import type { Timer } from "../core/clock.ts";
import { LEASE_MS, LEAVE_MS_MAX } from "../limits.ts";
import type { Message, MessageOf } from "../messages.ts";
import type { Following } from "./following.ts";
import type { Holding } from "./holding.ts";
import type { Snapshots } from "./snapshots.ts";
import type { WorkQueue } from "./work_queue.ts";

/** What the timer of a host that leaves is named. */
export const LEAVE_TIMER = "leave";

/** What a host leaves behind. */
export interface Departure {
  /** The stage that it held, if any. */
  readonly stage: number | undefined;
  /** Steps that its state has taken. */
  readonly step: number;
  /** Other hosts that hold the state and go on; `undefined` if nobody could say so. */
  readonly replicas: number | undefined;
  /** Whether the state is on its own disk. */
  readonly saved: boolean;
}

/** What departing is made of. */
export interface DepartingParts {
  readonly holding: Holding;
  readonly queue: WorkQueue;
  readonly snapshots: Snapshots;
  readonly following: Following;
  /** Outlives the host's actor. */
  readonly memory: { leaving: boolean };
}

/** What departing asks of its host. */
export interface DepartingOwner {
  /** Whether it holds what a step needs. */
  readonly isNeeded: () => boolean;
  /** Says hello: the coordinator does not know yet that it leaves. */
  readonly greet: () => void;
  /** Others take the walks that it would be sent: it offers nothing any more. */
  readonly replaced: () => void;
  /** Breaks off whatever is under way. */
  readonly end: () => void;
  /** It is gone. */
  readonly left: (departure: Departure) => void;
}

/** The leaving of one host. */
export class Departing {
  readonly #context: Context<Message>;
  readonly #parts: DepartingParts;
  readonly #owner: DepartingOwner;
  #timer: Timer | undefined;
  #sinceMs = Infinity;
  #isReplaced = false;
  #hasLeft = false;

  constructor(context: Context<Message>, parts: DepartingParts, owner: DepartingOwner) {
    this.#context = context;
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Whether it was told to leave. */
  get isLeaving(): boolean {
    return this.#parts.memory.leaving;
  }

  /** Whether others take the walks that it would be sent. */
  get isReplaced(): boolean {
    return this.#isReplaced;
  }

  /** Whether it does nothing any more but end what it has begun. */
  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /** A host that was told to leave before its actor began anew waits anew. */
  start(): void {
    if (this.isLeaving) this.#awaitRelief();
  }

  /** Leaves as soon as it can: what it has counted is needed until the step is over. */
  leave(): void {
    if (this.isLeaving) return;
    this.#parts.memory.leaving = true;
    this.#awaitRelief();
    this.#owner.greet();
  }

  /** The coordinator does without it, at once or after this step. */
  onRelieved({ replicas, now }: MessageOf<"relieved">): void {
    if (!this.isLeaving) return;
    if (now) return this.#depart(replicas);
    this.#isReplaced = replicas > 0;
    if (this.#isReplaced) this.#owner.replaced();
  }

  /** Goes if nobody needs it. */
  departIfIdle(): void {
    if (!this.isLeaving) return;
    // Another coordinator would have asked for what this host holds by then.
    const waitedMs = this.#context.clock.nowMs() - this.#sinceMs;
    const isForgotten = this.#parts.following.leader === undefined && waitedMs > 2 * LEASE_MS;
    if (!this.#owner.isNeeded() || isForgotten) this.#depart(undefined);
  }

  /** It has waited long enough. */
  onTimer(): void {
    this.#depart(undefined);
  }

  /** Waits for nothing any more. */
  stop(): void {
    this.#timer?.cancel();
  }

  #awaitRelief(): void {
    this.#sinceMs = this.#context.clock.nowMs();
    this.#timer = this.#context.after(LEAVE_MS_MAX, { kind: "timer", name: LEAVE_TIMER, key: "" });
  }

  #depart(replicas: number | undefined): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.stop();
    this.#owner.end();
    const { holding, queue, snapshots } = this.#parts;
    snapshots.copyUnlessKept();
    queue.whenIdle(() =>
      this.#owner.left({
        stage: holding.stage?.index,
        step: holding.step,
        replicas,
        saved: snapshots.holdPresent,
      })
    );
  }
}
