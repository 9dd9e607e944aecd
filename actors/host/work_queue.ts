/**
 * What a host does next. A stage does one thing at a time, but for walks, which overlap as far as it
 * likes. What the coordinator orders comes first, then readers, then walks on their way back, which free
 * what is held of them, then walks on their way there. What is under way ends before anything else
 * begins. It knows nothing of what the work is, and computes nothing.
 */

import type { Context, Work } from "../core/actor.ts";
import type { Message, MessageOf } from "../messages.ts";
import { Jobs } from "../role.ts";
import type { Half } from "../workload.ts";

/** What the timer of a work queue is named. */
export const WORK_TIMER = "work";

/** One half of a walk's work, as far as it matters beside what. */
export interface Pass {
  readonly walk: { readonly microBatch: number };
}

/** What a work queue asks of its host. */
export interface WorkQueueOwner {
  /** Passes that the stage takes at once. */
  readonly inFlightMax: () => number;
  /** Whether readers wait for something to be computed. */
  readonly readersWait: () => boolean;
  /** Has what readers wait for computed, with {@link WorkQueue.start}. */
  readonly runReaders: () => void;
  /** Sees why work failed before whoever started it does, and may throw. */
  readonly failed: (error: unknown) => void;
}

/** Work that waits. */
interface Piece {
  readonly start: () => void;
  /** What it is, unless it is done alone. */
  readonly pass: Pass | undefined;
}

const CONTROL = 0;
const BACKWARD = 1;
const FORWARD = 2;

/** The work of one host. */
export class WorkQueue {
  readonly #context: Context<Message>;
  readonly #owner: WorkQueueOwner;
  readonly #jobs: Jobs;
  /** An earlier one goes first. */
  readonly #waiting: readonly [Piece[], Piece[], Piece[]] = [[], [], []];
  /** Passes that the stage has been given and has not answered. */
  readonly #passes = new Set<Pass>();
  /** It was asked to run for readers, and will as soon as it has heard all that has come by now. */
  #isWoken = false;

  constructor(context: Context<Message>, owner: WorkQueueOwner) {
    this.#context = context;
    this.#owner = owner;
    this.#jobs = new Jobs(context, owner.failed);
  }

  /** Passes that wait. */
  waiting(half: Half): number {
    return this.#waiting[half === "forward" ? FORWARD : BACKWARD].length;
  }

  // --- what waits ---------------------------------------------------------------------------------

  /** Calls `start`, which may {@link start} work, when nothing else is under way. */
  alone(start: () => void): void {
    this.#enqueue(CONTROL, { start, pass: undefined });
  }

  /** Does work when nothing else is under way; `done` or `failed` is called from within a later message. */
  perform<Value>(
    work: Work,
    run: () => Promise<Value>,
    done: (value: Value) => void,
    failed: (error: unknown) => void,
  ): void {
    this.alone(() => this.start(work, run, done, failed));
  }

  /** Calls `start`, which may {@link startPass}, when it is this pass's turn. */
  awaitTurn(half: Half, pass: Pass, start: () => void): void {
    this.#enqueue(half === "forward" ? FORWARD : BACKWARD, { start, pass });
  }

  /** Calls `then` once everything that was begun is done, and what followed from it. */
  whenIdle(then: () => void): void {
    this.alone(() => this.#waiting[CONTROL].length === 0 ? then() : this.whenIdle(then));
  }

  // --- what is under way --------------------------------------------------------------------------

  /** Starts work whose turn it is. */
  start<Value>(
    work: Work,
    run: () => Promise<Value>,
    done: (value: Value) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#jobs.start(work, run, done, failed);
  }

  /** Starts a pass whose turn it is: others may begin beside it. */
  startPass<Value>(
    pass: Pass,
    work: Work,
    run: () => Promise<Value>,
    done: (value: Value) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#passes.add(pass);
    this.#jobs.start(work, run, (value) => {
      this.#passes.delete(pass);
      done(value);
    }, (error) => {
      this.#passes.delete(pass);
      failed(error);
    });
  }

  /** Work has ended. */
  onPerformed({ job, outcome }: MessageOf<"performed">): void {
    this.#jobs.end(job, outcome);
    this.advance();
  }

  /** Begins what can begin. */
  advance(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) next.start();
    if (this.#isWoken || !this.#isReadersTurn()) return;
    // What has come by now is heard first, so that all of it is one run.
    const { actor } = this.#context;
    this.#isWoken = this.#context.tell({ actor }, { kind: "timer", name: WORK_TIMER, key: "" });
    if (!this.#isWoken) this.onTimer();
  }

  /** All that had come is heard. */
  onTimer(): void {
    this.#isWoken = false;
    if (this.#isReadersTurn()) this.#owner.runReaders();
  }

  #isReadersTurn(): boolean {
    return this.#jobs.size === 0 && this.#owner.readersWait();
  }

  #enqueue(urgency: typeof CONTROL | typeof BACKWARD | typeof FORWARD, piece: Piece): void {
    this.#waiting[urgency].push(piece);
    this.advance();
  }

  #next(): Piece | undefined {
    const queue = this.#waiting.find((pieces) => pieces.length > 0);
    // Training has what readers leave of the time.
    if (queue !== this.#waiting[CONTROL] && this.#owner.readersWait()) return undefined;
    if (queue === undefined || (this.#jobs.size > 0 && !this.#mayOverlap(queue[0]))) return undefined;
    return queue.shift();
  }

  /** Whether a piece may begin while others are under way. What a gradient counts for is known only when it is there. */
  #mayOverlap({ pass }: Piece): boolean {
    return pass !== undefined && this.#jobs.size === this.#passes.size &&
      this.#passes.size < this.#owner.inFlightMax() &&
      ![...this.#passes].some(({ walk }) => walk.microBatch === pass.walk.microBatch);
  }
}
