/**
 * One actor at work: its state, what waits for it, and what it has under way.
 * Runs one message at a time and never re-enters. It doesn't choose when it
 * runs (its system does) nor what follows a crash (its supervisor does).
 */

import type { Address, Behaviour, Context, Envelope, PeerId } from "./actor.ts";
import type { Clock } from "./clock.ts";
import type { Entropy } from "./entropy.ts";
import { Mailbox } from "./mailbox.ts";
import type { Performer } from "./performer.ts";
import { Queue } from "./queue.ts";
import { ScopedClock } from "./scoped_clock.ts";
import { type SupervisionLimits, Supervisor } from "./supervisor.ts";

/** An actor that crashed once too often. */
export interface Failure {
  /** Its name. */
  readonly actor: string;
  /** What it threw last. */
  readonly error: unknown;
  /** Crashes within the supervisor's window. */
  readonly crashes: number;
}

/** What a cell needs of its system. */
export interface CellHost<Message> {
  readonly peer: PeerId;
  readonly clock: Clock;
  readonly performer: Performer;
  readonly supervision: SupervisionLimits;
  readonly mailboxMessagesMax: number;
  readonly outstandingMax: number;
  tell(to: Address, message: Message): boolean;
  /** The cell has something to do; it asks once until it gets a turn. */
  ready(cell: Runnable): void;
  trace(actor: string, event: string, fields: Readonly<Record<string, unknown>>): void;
  escalate(failure: Failure): void;
}

/** What a system runs, whatever the type of its state. */
export interface Runnable {
  /** Handles one message, if any waits and the actor is well. */
  turn(): void;
}

/** From one start of an actor to its crash or end. */
interface Life<Message> {
  readonly context: Context<Message>;
  readonly clock: ScopedClock;
  /** Pieces of performed work that have not come back. */
  working: number;
  ended: boolean;
}

/** Holds one actor. */
export class Cell<State, Message> implements Runnable {
  readonly #host: CellHost<Message>;
  readonly #behaviour: Behaviour<State, Message>;
  readonly #entropy: Entropy;
  readonly #supervisor: Supervisor;
  readonly #mailbox: Mailbox<Envelope<Message>>;
  /**
   * Fired timers and outcomes of work. They go first, and past the mailbox's bound, because
   * nobody could send them again; what bounds them is how many an actor may have under way.
   */
  readonly #owed = new Queue<Message>();
  /** The life and what it has become; `undefined` between a crash and the restart. */
  #living: { readonly life: Life<Message>; state: State } | undefined;
  /** The pause before a restart. */
  readonly #pause: ScopedClock;
  #ended = false;
  #awaitsTurn = false;

  constructor(host: CellHost<Message>, behaviour: Behaviour<State, Message>, entropy: Entropy) {
    this.#host = host;
    this.#behaviour = behaviour;
    this.#entropy = entropy;
    this.#supervisor = new Supervisor(host.supervision);
    this.#mailbox = new Mailbox(host.mailboxMessagesMax);
    this.#pause = new ScopedClock(host.clock, 1);
  }

  get name(): string {
    return this.#behaviour.name;
  }

  /** Messages from others that wait. */
  get waiting(): number {
    return this.#mailbox.size;
  }

  /** Starts the actor; a throw is a crash like any other. */
  start(): void {
    const life = this.#beginLife();
    try {
      this.#living = { life, state: this.#behaviour.start(life.context) };
    } catch (error) {
      return this.#crash(life, error);
    }
    this.#trace("start");
    this.#wake();
  }

  /** Queues a message from outside; `false` if the mailbox is full or the actor has ended. */
  push(envelope: Envelope<Message>): boolean {
    if (this.#ended) return false;
    if (!this.#mailbox.push(envelope)) {
      this.#trace("refuse", { from: envelope.from, waiting: this.#mailbox.size });
      return false;
    }
    this.#wake();
    return true;
  }

  turn(): void {
    this.#awaitsTurn = false;
    const living = this.#living;
    if (living === undefined) return;
    const owed = this.#owed.shift();
    const envelope = owed === undefined ? this.#mailbox.shift() : { from: this.#host.peer, message: owed };
    if (envelope === undefined) return;
    try {
      living.state = this.#behaviour.handle(living.state, envelope, living.life.context);
    } catch (error) {
      return this.#crash(living.life, error);
    }
    this.#wake();
  }

  /** Ends the actor in good order. Throws what its `stop` throws, once it has ended. */
  stop(): void {
    const living = this.#living;
    try {
      if (living !== undefined) this.#behaviour.stop?.(living.state, living.life.context);
    } finally {
      this.end();
      this.#trace("stop");
    }
  }

  /** Ends the actor as a power cut would. */
  end(): void {
    this.#ended = true;
    if (this.#living !== undefined) this.#endLife(this.#living.life);
    this.#pause.close();
    this.#mailbox.clear();
  }

  #beginLife(): Life<Message> {
    const host = this.#host;
    const scoped = new ScopedClock(host.clock, host.outstandingMax);
    const guarded: Clock = {
      nowMs: () => scoped.nowMs(),
      epochMs: () => scoped.epochMs(),
      after: (delayMs, fire) => scoped.after(delayMs, () => this.#guard(life, fire)),
    };
    const context: Context<Message> = {
      peer: host.peer,
      actor: this.name,
      clock: guarded,
      entropy: this.#entropy,
      tell: (to, message) => !life.ended && host.tell(to, message),
      after: (delayMs, message) => scoped.after(delayMs, () => this.#owe(message)),
      perform: (work, run, failed) => {
        if (life.ended) return;
        if (life.working >= host.outstandingMax) {
          throw new RangeError(
            `Cannot perform ${work.kind}: ${life.working} of ${host.outstandingMax} under way`,
          );
        }
        life.working++;
        // Work that was queued when its actor ended isn't worth starting.
        const runIfAlive = () =>
          life.ended ? Promise.reject(new Error(`Cannot ${work.kind}: its actor ended`)) : run();
        host.performer.perform(work, runIfAlive, (outcome) => {
          life.working--;
          if (life.ended) return this.#trace("orphan", { kind: work.kind, ok: outcome.ok });
          if (outcome.ok) return this.#owe(outcome.value);
          if (failed === undefined) return this.#crash(life, outcome.error);
          this.#guard(life, () => this.#owe(failed(outcome.error)));
        });
      },
      trace: (event, fields = {}) => host.trace(this.name, event, fields),
    };
    const life: Life<Message> = { context, clock: scoped, working: 0, ended: false };
    return life;
  }

  #endLife(life: Life<Message>): void {
    life.ended = true;
    life.clock.close();
    this.#owed.clear();
    this.#living = undefined;
  }

  /** Runs what the actor asked for outside its messages; a throw there is its crash too. */
  #guard(life: Life<Message>, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#crash(life, error);
    }
  }

  #crash(life: Life<Message>, error: unknown): void {
    // A stop or replacement from within the actor's own message ends it first.
    if (life.ended) return this.#trace("crash", { error: textOf(error) });
    this.#endLife(life);
    const verdict = this.#supervisor.crashed(this.#host.clock.nowMs());
    this.#trace("crash", { error: textOf(error), ...verdict });
    if (verdict.kind === "restart") {
      this.#pause.after(verdict.pauseMs, () => this.start());
      return;
    }
    this.end();
    this.#host.escalate({ actor: this.name, error, crashes: verdict.crashes });
  }

  #owe(message: Message): void {
    this.#owed.push(message);
    this.#wake();
  }

  #wake(): void {
    if (this.#awaitsTurn || this.#living === undefined) return;
    if (this.#owed.size === 0 && this.#mailbox.size === 0) return;
    this.#awaitsTurn = true;
    this.#host.ready(this);
  }

  #trace(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#host.trace(this.name, event, fields);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
