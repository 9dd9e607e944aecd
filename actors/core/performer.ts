/**
 * Runs the work that takes time, outside the actors. It knows nothing of
 * messages: each piece of work ends with one call of `done`.
 */

import type { Work } from "./actor.ts";

/** How a piece of work ended. */
export type Outcome<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: unknown };

/** Where work is done. */
export interface Performer {
  /** Starts `run`; calls `done` once, later, never before `perform` returns. */
  perform<Value>(
    work: Work,
    run: () => Promise<Value>,
    done: (outcome: Outcome<Value>) => void,
  ): void;
}

/** Calls `run`, and makes a value of whatever comes of it, a synchronous throw included. */
export async function outcomeOf<Value>(run: () => Promise<Value>): Promise<Outcome<Value>> {
  try {
    return { ok: true, value: await run() };
  } catch (error) {
    return { ok: false, error };
  }
}

/** Starts everything at once; outcomes arrive in the order in which the work ends. */
export class RealPerformer implements Performer {
  readonly #running = new Set<Promise<void>>();

  /** Pieces of work that have not ended. */
  get running(): number {
    return this.#running.size;
  }

  perform<Value>(
    _work: Work,
    run: () => Promise<Value>,
    done: (outcome: Outcome<Value>) => void,
  ): void {
    const ended = outcomeOf(run).then((outcome) => {
      this.#running.delete(ended);
      done(outcome);
    });
    this.#running.add(ended);
  }

  /** Resolves when nothing runs any more; call it before closing what the work runs on. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
