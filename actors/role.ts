/**
 * How roles are written here: an object that receives messages, made from its
 * context. This file only fits such an object into the core's `Behaviour`, and
 * runs jobs whose end comes back as a message.
 */

import type { Behaviour, Context, Envelope, Work } from "./core/actor.ts";
import { REASON_CHARACTERS_MAX } from "./limits.ts";
import type { Message, Outcome } from "./messages.ts";

/** A role at work. */
export interface Role {
  /** A throw is a crash: the supervisor starts another in its place. */
  receive(envelope: Envelope<Message>): void;
  stop?(): void;
  /** Gives back what is held outside of the actor, after a crash. */
  abandon?(): void;
}

/** A behaviour from the constructor of a role. */
export function behaviour(name: string, make: (context: Context<Message>) => Role): Behaviour<Role, Message> {
  return {
    name,
    start: make,
    handle: (role, envelope) => {
      try {
        role.receive(envelope);
      } catch (error) {
        role.abandon?.();
        throw error;
      }
      return role;
    },
    stop: (role) => role.stop?.(),
  };
}

/** Work that an actor has under way, and what to do when it ends. */
export class Jobs {
  readonly #context: Context<Message>;
  readonly #onFailure: (error: unknown) => void;
  readonly #ends = new Map<number, (outcome: Outcome) => void>();
  #last = 0;

  /** @param onFailure sees why a job failed before whoever started it does, and may throw. */
  constructor(context: Context<Message>, onFailure: (error: unknown) => void = () => {}) {
    this.#context = context;
    this.#onFailure = onFailure;
  }

  /** How many are under way. */
  get size(): number {
    return this.#ends.size;
  }

  /** Starts `run`; `done` or `failed` is called from within a later message. */
  start<Value>(
    work: Work,
    run: () => Promise<Value>,
    done: (value: Value) => void,
    failed: (error: unknown) => void,
  ): void {
    const job = ++this.#last;
    this.#ends.set(job, (outcome) => outcome.ok ? done(outcome.value as Value) : failed(outcome.error));
    this.#context.perform(
      work,
      async () => ({ kind: "performed", job, outcome: { ok: true, value: await run() } }),
      (error) => ({ kind: "performed", job, outcome: { ok: false, error } }),
    );
  }

  /** The message that ends a job. A job of an earlier incarnation is not known, and ignored. */
  end(job: number, outcome: Outcome): void {
    const end = this.#ends.get(job);
    this.#ends.delete(job);
    if (end !== undefined && !outcome.ok) this.#onFailure(outcome.error);
    end?.(outcome);
  }
}

/** Why something failed, as text that fits a message. */
export function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, REASON_CHARACTERS_MAX);
}
