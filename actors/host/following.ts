/**
 * Whom a host follows, and how the two keep in touch: a promise is on the disk before anybody hears of it,
 * and now and then the host says hello, to the coordinator that it follows or to all trainers. To whom it
 * may promise itself is in `allegiance.ts`; what it says of itself, and what it does when it is ordered to,
 * is for the host.
 */

import { Allegiance, latestOf, type Pledge } from "../allegiance.ts";
import type { Context, PeerId } from "../core/actor.ts";
import type { Timer } from "../core/clock.ts";
import { COORDINATORS_MAX, HELLO_PERIOD_MS, LEASE_MS } from "../limits.ts";
import type { Message, MessageOf, RemoteMessage } from "../messages.ts";
import { reasonOf } from "../role.ts";
import type { Announcement } from "../../routing/mod.ts";
import type { WorkQueue } from "./work_queue.ts";

/** What the timer of the next hello is named. */
export const HELLO_TIMER = "hello";

/** Keeps what a host has promised, so that it holds its word also after a crash. */
export interface PledgeStore {
  /** What was promised before this process; `undefined` if nothing was. */
  readonly initial: Pledge | undefined;
  /** Writes the promise in force down, in the place of the one before. */
  save(pledge: Pledge): Promise<void>;
}

/** What following is made of. */
export interface FollowingParts {
  readonly queue: WorkQueue;
  /** Without it a promise is as good as the process. */
  readonly store: PledgeStore | undefined;
  /** Outlives the host's actor. */
  readonly memory: { pledge: Pledge | undefined };
}

/** What following asks of its host. */
export interface FollowingOwner {
  /** Says hello, with {@link Following.hello}: there is somebody new to say it to, or something new to say. */
  readonly greet: () => void;
  /** A coordinator has said something. */
  readonly heard: () => void;
  /** The host is another's from now on: what was begun under the term before counts no more. */
  readonly promised: () => void;
  /** A promise could not be written down. */
  readonly trouble: (reason: string) => void;
}

/** What a hello says beside whom the host follows. */
export type Self = Omit<MessageOf<"hello">, "kind" | "term" | "leader" | "latest" | "electorates">;

/** The coordinators of one host. */
export class Following {
  readonly #context: Context<Message>;
  readonly #parts: FollowingParts;
  readonly #owner: FollowingOwner;
  readonly #allegiance: Allegiance;
  /** Trainers that were announced: one of them coordinates. */
  #trainers: readonly PeerId[] = [];
  #timer: Timer | undefined;

  constructor(context: Context<Message>, parts: FollowingParts, owner: FollowingOwner) {
    this.#context = context;
    this.#parts = parts;
    this.#owner = owner;
    this.#allegiance = new Allegiance(LEASE_MS, parts.memory.pledge);
  }

  /** The promise in force, whether or not its coordinator is heard of. */
  get pledge(): Pledge {
    return this.#allegiance.pledge;
  }

  /** The coordinator that is followed and heard of. */
  get leader(): PeerId | undefined {
    return this.#allegiance.leader(this.#context.clock.nowMs());
  }

  /** Looks for coordinators, and says hello after a while. */
  start(): void {
    const { actor } = this.#context;
    this.#context.tell({ actor: "scout" }, { kind: "watch", service: "coordinator", subscriber: actor });
    this.rest();
  }

  /** The next hello is due when a period is over. */
  rest(): void {
    this.#timer?.cancel();
    this.#timer = this.#context.after(HELLO_PERIOD_MS, { kind: "timer", name: HELLO_TIMER, key: "" });
  }

  /** Says nothing any more. */
  stop(): void {
    this.#timer?.cancel();
  }

  // --- what it says -------------------------------------------------------------------------------

  /** @param isServing whether it was accepted by whoever it follows. */
  hello(self: Self, { isServing }: { readonly isServing: boolean }): void {
    const { leader: followed } = this;
    const { term, leader, electorates } = this.pledge;
    const hello = {
      kind: "hello",
      ...self,
      term,
      leader,
      latest: latestOf(electorates),
      electorates: isServing && followed !== undefined ? [] : electorates,
    } as const;
    // Who follows nobody asks all: which of them leads is for them to settle.
    for (const peer of followed === undefined ? this.#trainers : [followed]) {
      this.#context.tell({ peer, actor: "coordinator" }, hello);
    }
  }

  /** Tells whomever it has promised itself to, if anybody. */
  tellLeader(message: RemoteMessage): void {
    const { leader } = this.pledge;
    if (leader !== null) this.#context.tell({ peer: leader, actor: "coordinator" }, message);
  }

  // --- what it hears ------------------------------------------------------------------------------

  /** Trainers were looked for. */
  foundTrainers(announcements: readonly Announcement[]): void {
    if (announcements.length === 0) return;
    this.#trainers = [...announcements].sort((a, b) => b.issuedAtMs - a.issuedAtMs)
      .slice(0, COORDINATORS_MAX).map(({ peer }) => peer);
    if (this.leader === undefined) this.#owner.greet();
  }

  /** Whether an order comes from where it has to. */
  obeys(from: PeerId, term: number): boolean {
    return this.#allegiance.obeys(from, term, this.#context.clock.nowMs());
  }

  /** Somebody leads, or would. */
  onLead(from: PeerId, { term, electorates }: MessageOf<"lead">): void {
    const follows = this.obeys(from, term);
    const promises = !follows && this.#allegiance.promise(from, term, this.#context.clock.nowMs());
    if (!follows && !promises) {
      this.#context.tell({ peer: from, actor: "coordinator" }, {
        kind: "outranked",
        term: this.pledge.term,
        leader: this.leader ?? null,
      });
      return;
    }
    this.#owner.heard();
    const news = this.#allegiance.remember(electorates);
    if (promises) {
      this.#context.trace("promised", { leader: from, term });
      this.#owner.promised();
    }
    if (promises || news) this.#keep();
  }

  /** It leads no more: nobody waits for a lease to end when its holder is gone. */
  release(from: PeerId): void {
    if (this.#allegiance.release(from, this.#context.clock.nowMs())) this.#owner.greet();
  }

  /** A peer is gone. */
  lost(peer: PeerId): void {
    this.#trainers = this.#trainers.filter((trainer) => trainer !== peer);
    this.release(peer);
  }

  /** The promise is on the disk before anybody hears of it. */
  #keep(): void {
    const { queue, store, memory } = this.#parts;
    const pledge = memory.pledge = this.pledge;
    // A pass that is under way may still be counted: the hello comes after it.
    if (store === undefined) return queue.alone(() => this.#owner.greet());
    queue.perform(
      { kind: "pledge", amount: 1 },
      () => store.save(pledge),
      () => this.#owner.greet(),
      (error) => this.#owner.trouble(reasonOf(error)),
    );
  }
}
