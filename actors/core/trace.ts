/**
 * What happened, when, to whom: structured events, handed to a sink. Formats
 * nothing and writes nowhere; a log, a test or a picture is made from them.
 */

import type { PeerId } from "./actor.ts";

/** One thing that happened. */
export interface TraceEvent {
  /** By the peer's clock. */
  readonly atMs: number;
  /** To whom. */
  readonly peer: PeerId;
  /** Empty if it happened to the system as a whole. */
  readonly actor: string;
  /** `crash`, `restart`, … or a role's own word. */
  readonly event: string;
  /** Its numbers. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Takes every event as it happens. Must not throw, nor send messages. */
export type TraceSink = (event: TraceEvent) => void;

/** Forgets everything. */
export const silentTrace: TraceSink = () => {};

/** Hands each event to several sinks, in order. */
export function teeTrace(...sinks: readonly TraceSink[]): TraceSink {
  return (event) => {
    for (const sink of sinks) sink(event);
  };
}

/** Keeps the latest events in memory. */
export class TraceRing {
  /** Where the events go in. */
  readonly sink: TraceSink = (event) => {
    this.#events[this.#taken % this.#bound] = event;
    this.#taken++;
  };
  readonly #bound: number;
  readonly #events: TraceEvent[] = [];
  #taken = 0;

  /**
   * An empty ring.
   *
   * @param bound the most events that are kept.
   * @throws {RangeError} if `bound` is not a positive integer.
   */
  constructor(bound: number) {
    if (!Number.isSafeInteger(bound) || bound < 1) {
      throw new RangeError(
        `Cannot make a trace ring: bound must be a positive integer, got ${bound}`,
      );
    }
    this.#bound = bound;
  }

  /** Events that had to make room for later ones. */
  get forgotten(): number {
    return Math.max(0, this.#taken - this.#bound);
  }

  /** What is kept, oldest first. */
  events(): TraceEvent[] {
    const oldest = this.#taken > this.#bound ? this.#taken % this.#bound : 0;
    return [...this.#events.slice(oldest), ...this.#events.slice(0, oldest)];
  }
}
