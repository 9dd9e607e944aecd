/**
 * The actors of one peer, and who gets the next turn. Turns go round, one
 * message each, so that a busy actor holds up nobody. It doesn't know what
 * the messages mean, nor how other peers are reached.
 */

import type { Address, Behaviour, PeerId } from "./actor.ts";
import { Cell, type CellHost, type Failure, type Runnable } from "./cell.ts";
import type { Clock } from "./clock.ts";
import type { Entropy } from "./entropy.ts";
import type { Performer } from "./performer.ts";
import { Queue } from "./queue.ts";
import type { Scheduler } from "./scheduler.ts";
import { SUPERVISION_DEFAULT, type SupervisionLimits } from "./supervisor.ts";
import { silentTrace, type TraceSink } from "./trace.ts";

/** Messages that one scheduled turn handles before it makes way for timers and sockets. */
const MESSAGES_PER_TURN = 64;

/** What a system is built from. */
export interface ActorSystemOptions<Message> {
  /** Whose system it is. */
  readonly peer: PeerId;
  /** Of all actors, and of the pauses before restarts. */
  readonly clock: Clock;
  /** Each actor draws from a fork that bears its name. */
  readonly entropy: Entropy;
  /** Does the work that takes time. */
  readonly performer: Performer;
  /** Gives the system its turns. */
  readonly scheduler: Scheduler;
  /** An actor has crashed once too often and stays down. Whoever built the system decides. */
  readonly escalate: (failure: Failure) => void;
  /** The way to other peers; `false` as in {@link Context.tell}. Without it there is none. */
  readonly transport?: (peer: PeerId, actor: string, message: Message) => boolean;
  /** Default: nothing is kept. */
  readonly trace?: TraceSink;
  /** Default: {@link SUPERVISION_DEFAULT}. */
  readonly supervision?: SupervisionLimits;
  /** Messages that may wait for one actor. Default: 1024. */
  readonly mailboxMessagesMax?: number;
  /** Timers, and likewise pieces of work, that one actor may have under way. Default: 4096. */
  readonly outstandingMax?: number;
}

/** The actors of one peer. */
export class ActorSystem<Message> {
  /** Whose system it is. */
  readonly peer: PeerId;
  readonly #entropy: Entropy;
  readonly #clock: Clock;
  readonly #scheduler: Scheduler;
  readonly #transport: (peer: PeerId, actor: string, message: Message) => boolean;
  readonly #sink: TraceSink;
  readonly #host: CellHost<Message>;
  readonly #cells = new Map<string, Cell<unknown, Message>>();
  /** Actors with something to do, each at most once. */
  readonly #ready = new Queue<Runnable>();
  #status: "running" | "stopping" | "ended" = "running";
  #scheduled = false;

  /** A running system without actors. */
  constructor(options: ActorSystemOptions<Message>) {
    this.peer = options.peer;
    this.#entropy = options.entropy;
    this.#clock = options.clock;
    this.#scheduler = options.scheduler;
    this.#transport = options.transport ?? (() => false);
    this.#sink = options.trace ?? silentTrace;
    this.#host = {
      peer: options.peer,
      clock: options.clock,
      performer: options.performer,
      supervision: options.supervision ?? SUPERVISION_DEFAULT,
      mailboxMessagesMax: options.mailboxMessagesMax ?? 1024,
      outstandingMax: options.outstandingMax ?? 4096,
      tell: (to, message) => this.tell(to, message),
      ready: (cell) => {
        this.#ready.push(cell);
        this.#schedule();
      },
      trace: (actor, event, fields) => this.#trace(actor, event, fields),
      escalate: (failure) => {
        this.#trace(failure.actor, "escalate", { crashes: failure.crashes });
        options.escalate(failure);
      },
    };
  }

  /** Whether actors run. */
  get running(): boolean {
    return this.#status === "running";
  }

  /** Names of the actors, in the order in which they were spawned. */
  get actors(): string[] {
    return [...this.#cells.keys()];
  }

  /** Messages from others that wait for an actor; 0 if there is no such actor. */
  waiting(actor: string): number {
    return this.#cells.get(actor)?.waiting ?? 0;
  }

  /**
   * Starts an actor, before it returns. One that had the name is stopped first,
   * and what waited for it is dropped.
   *
   * @throws {Error} if the system has stopped.
   */
  spawn<State>(behaviour: Behaviour<State, Message>): void {
    if (!this.running) throw new Error(`Cannot spawn ${behaviour.name}: ${this.peer} has stopped`);
    const former = this.#cells.get(behaviour.name);
    if (former !== undefined) {
      this.#cells.delete(behaviour.name);
      this.#trace(behaviour.name, "replace", { dropped: former.waiting });
      former.stop();
    }
    const cell = new Cell(this.#host, behaviour, this.#entropy.fork(behaviour.name));
    this.#cells.set(behaviour.name, cell as Cell<unknown, Message>);
    cell.start();
  }

  /** Sends on this peer's behalf; `false` as in {@link Context.tell}. */
  tell(to: Address, message: Message): boolean {
    if (to.peer === undefined || to.peer === this.peer) {
      return this.deliver(this.peer, to.actor, message);
    }
    return this.#status !== "ended" && this.#transport(to.peer, to.actor, message);
  }

  /**
   * Takes a message in. It is handled later, never before this returns.
   *
   * @returns `false` if there is no such actor, or its mailbox is full.
   */
  deliver(from: PeerId, actor: string, message: Message): boolean {
    if (!this.running) return false;
    return this.#cells.get(actor)?.push({ from, message }) ?? false;
  }

  /**
   * Stops every actor, the youngest first. Their last words to other peers
   * still go out.
   *
   * @throws {AggregateError} if actors threw while they stopped; all have ended all the same.
   */
  stop(): void {
    if (!this.running) return;
    this.#status = "stopping";
    const errors: unknown[] = [];
    for (const cell of [...this.#cells.values()].reverse()) {
      try {
        cell.stop();
      } catch (error) {
        errors.push(error);
      }
    }
    this.#end();
    if (errors.length > 0) {
      throw new AggregateError(errors, `Cannot stop ${this.peer} in good order`);
    }
  }

  /** Ends everything as a power cut would: no stop handler runs, nothing under way comes back. */
  kill(): void {
    if (this.#status === "ended") return;
    for (const cell of this.#cells.values()) cell.end();
    this.#end();
    this.#trace("", "kill", {});
  }

  #end(): void {
    this.#status = "ended";
    this.#cells.clear();
    this.#ready.clear();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#scheduler(() => {
      this.#scheduled = false;
      try {
        for (let left = MESSAGES_PER_TURN; left > 0 && this.#ready.size > 0; left--) {
          this.#ready.shift()!.turn();
        }
      } finally {
        // `escalate` may have thrown; the others go on.
        if (this.#ready.size > 0) this.#schedule();
      }
    });
  }

  #trace(actor: string, event: string, fields: Readonly<Record<string, unknown>>): void {
    this.#sink({ atMs: this.#clock.nowMs(), peer: this.peer, actor, event, fields });
  }
}
