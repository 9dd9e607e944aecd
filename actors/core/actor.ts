/**
 * What an actor is: a state, and a function from a message to the next state.
 * It never awaits. Work that takes time is *performed*, and its outcome is
 * another message.
 */

import type { Clock, Timer } from "./clock.ts";
import type { Entropy } from "./entropy.ts";

/** Text form of a libp2p peer id (any unique text in simulation). */
export type PeerId = string;

/** Where an actor lives. Without `peer`: on this peer. */
export interface Address {
  /** Whose system it is in. */
  readonly peer?: PeerId;
  /** Its name there. */
  readonly actor: string;
}

/** A message with its sender. */
export interface Envelope<Message> {
  /** Who sent it; for timers and work that ended, this peer. */
  readonly from: PeerId;
  /** What was sent. */
  readonly message: Message;
}

/** What performed work is, for the trace and for the simulator's cost model. */
export interface Work {
  /** `forward`, `backward`, `apply`, `lookup`, … */
  readonly kind: string;
  /** How much of it, in units of its kind (tokens, bytes, …). */
  readonly amount: number;
}

/** What an actor may do to the world. */
export interface Context<Message> {
  /** This peer. */
  readonly peer: PeerId;
  /** This actor's name. */
  readonly actor: string;
  /** Time; its timers end with this life of the actor. */
  readonly clock: Clock;
  /** Chance of this actor alone. */
  readonly entropy: Entropy;
  /**
   * Sends. `false` if it is known at once that it can't arrive: the local
   * mailbox is full, or the wire has no room or no way to the peer.
   */
  tell(to: Address, message: Message): boolean;
  /** Sends `message` to this actor itself, later. */
  after(delayMs: number, message: Message): Timer;
  /**
   * Starts work that takes time; its outcome comes back as a message. If `work`
   * rejects, `failed` makes the message; without `failed` the actor crashes.
   */
  perform(
    work: Work,
    run: () => Promise<Message>,
    failed?: (error: unknown) => Message,
  ): void;
  /** Structured trace: what happened, and its numbers. */
  trace(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** A role: how it starts, and what it does with each message. */
export interface Behaviour<State, Message> {
  /** Name under which the system holds it. */
  readonly name: string;
  /** The first state of each life. A throw counts as a crash. */
  start(context: Context<Message>): State;
  /** One message. Throws on a bug only; the supervisor then restarts the actor. */
  handle(state: State, envelope: Envelope<Message>, context: Context<Message>): State;
  /** Called once when the system stops or the actor is replaced. */
  stop?(state: State, context: Context<Message>): void;
}
