/**
 * Finds other peers and lets itself be found: announces what this peer offers,
 * looks up the services that its other roles want, and tells them who is there.
 * It judges nobody: who is chosen is the router's business.
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import {
  ANNOUNCE_PERIOD_MS,
  LOOK_PERIOD_MS_ALONE,
  LOOK_PERIOD_MS_MAX,
  LOOK_PERIOD_MS_MIN,
  LOOK_REST_FACTOR,
} from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { behaviour, Jobs, reasonOf, type Role } from "./role.ts";
import type { Announcement } from "../routing/mod.ts";

/** What this peer says of itself; the rest of an announcement is the directory's to add. */
export interface Offer {
  readonly service: string;
  readonly step: number;
  readonly stateHash: string | null;
  readonly load: number;
  readonly trains: boolean;
  readonly sessionRoom: number;
}

/** What a scout is made of. */
export interface ScoutOptions {
  readonly announce: (offer: Offer) => Promise<void>;
  readonly lookUp: (service: string) => Promise<readonly Announcement[]>;
  /** A peer is gone: what was found of it may be out of date. */
  readonly doubt: (peer: PeerId) => void;
  /** Where a peer that was found can be reached. */
  readonly learnAddresses: (peer: PeerId, addresses: readonly string[]) => void;
}

interface Watch {
  readonly service: string;
  readonly subscribers: ReadonlySet<string>;
  periodMs: number;
  /** Not before that. */
  restUntilMs: number;
  looking: boolean;
  timer: Timer | undefined;
}

const LOOK = "look";
const ANNOUNCE = "announce";

/** What outlives a restart of the scout: nobody tells it twice. */
interface Memory {
  /** Subscribers of each service. */
  readonly wanted: Map<string, Set<string>>;
  offer: Offer | undefined;
}

class Scout implements Role {
  readonly #context: Context<Message>;
  readonly #options: ScoutOptions;
  readonly #jobs: Jobs;
  readonly #watches = new Map<string, Watch>();
  readonly #memory: Memory;
  #announcing = false;
  #announceTimer: Timer | undefined;

  constructor(context: Context<Message>, options: ScoutOptions, memory: Memory) {
    this.#context = context;
    this.#options = options;
    this.#memory = memory;
    this.#jobs = new Jobs(context);
    for (const [service, subscribers] of memory.wanted) this.#look(this.#newWatch(service, subscribers));
    this.#announce();
  }

  receive({ message }: Envelope<Message>): void {
    switch (message.kind) {
      case "watch":
        return this.#watch(message);
      case "unwatch":
        return this.#unwatch(message);
      case "announce":
        return this.#setOffer(message);
      case "withdraw":
        this.#memory.offer = undefined;
        this.#announceTimer?.cancel();
        return;
      case "performed":
        return this.#jobs.end(message.job, message.outcome);
      case "peerLost":
        this.#options.doubt(message.peer);
        return this.#lookSoon();
      case "timer":
        if (message.name === LOOK) return this.#look(this.#watches.get(message.key)!);
        return this.#announce();
    }
  }

  #watch({ service, subscriber }: MessageOf<"watch">): void {
    const { wanted } = this.#memory;
    const subscribers = wanted.get(service) ?? new Set<string>();
    wanted.set(service, subscribers.add(subscriber));
    const watch = this.#watches.get(service) ?? this.#newWatch(service, subscribers);
    // Who asks again expects news.
    watch.periodMs = LOOK_PERIOD_MS_MIN;
    this.#look(watch);
  }

  #unwatch({ service, subscriber }: MessageOf<"unwatch">): void {
    const subscribers = this.#memory.wanted.get(service);
    if (!subscribers?.delete(subscriber) || subscribers.size > 0) return;
    this.#memory.wanted.delete(service);
    this.#watches.get(service)?.timer?.cancel();
    this.#watches.delete(service);
  }

  #newWatch(service: string, subscribers: ReadonlySet<string>): Watch {
    const watch: Watch = {
      service,
      subscribers,
      periodMs: LOOK_PERIOD_MS_MIN,
      restUntilMs: 0,
      looking: false,
      timer: undefined,
    };
    this.#watches.set(service, watch);
    return watch;
  }

  /** Somebody is gone, somebody else may have come. */
  #lookSoon(): void {
    for (const watch of this.#watches.values()) {
      watch.periodMs = LOOK_PERIOD_MS_MIN;
      if (!watch.looking) this.#setLookTimer(watch);
    }
  }

  #look(watch: Watch): void {
    if (watch.looking) return;
    watch.looking = true;
    watch.timer?.cancel();
    const startedMs = this.#context.clock.nowMs();
    this.#jobs.start(
      { kind: "lookup", amount: 1 },
      () => this.#options.lookUp(watch.service),
      (announcements) => this.#found(watch, announcements, startedMs),
      (error) => {
        this.#context.trace("lookup failed", { service: watch.service, reason: reasonOf(error) });
        this.#found(watch, [], startedMs);
      },
    );
  }

  #found(watch: Watch, announcements: readonly Announcement[], startedMs: number): void {
    watch.looking = false;
    // Nobody wants it any more.
    if (this.#watches.get(watch.service) !== watch) return;
    const others = announcements.filter(({ peer }) => peer !== this.#context.peer);
    const nowMs = this.#context.clock.nowMs();
    watch.restUntilMs = nowMs + (others.length === 0 ? 0 : LOOK_REST_FACTOR * (nowMs - startedMs));
    for (const { peer, addresses } of others) this.#options.learnAddresses(peer, addresses);
    for (const subscriber of watch.subscribers) {
      this.#context.tell({ actor: subscriber }, {
        kind: "found",
        service: watch.service,
        announcements: others,
      });
    }
    this.#setLookTimer(watch);
    const longestMs = others.length === 0 ? LOOK_PERIOD_MS_ALONE : LOOK_PERIOD_MS_MAX;
    watch.periodMs = Math.min(2 * watch.periodMs, longestMs);
  }

  #setLookTimer(watch: Watch): void {
    watch.timer?.cancel();
    // Peers that lost the same neighbour at once should not all look at once.
    const periodMs = watch.periodMs * (0.75 + 0.5 * this.#context.entropy.uniform());
    const restMs = watch.restUntilMs - this.#context.clock.nowMs();
    watch.timer = this.#context.after(Math.max(periodMs, restMs), {
      kind: "timer",
      name: LOOK,
      key: watch.service,
    });
  }

  #setOffer({ kind: _, ...offer }: MessageOf<"announce">): void {
    const isNew = !isSame(this.#memory.offer, offer);
    this.#memory.offer = offer;
    if (isNew) this.#announce();
  }

  #announce(): void {
    this.#announceTimer?.cancel();
    const offer = this.#memory.offer;
    if (offer === undefined || this.#announcing) return;
    this.#announcing = true;
    const again = (delayMs: number) => {
      this.#announcing = false;
      if (!isSame(this.#memory.offer, offer)) return this.#announce();
      this.#announceTimer = this.#context.after(delayMs, { kind: "timer", name: ANNOUNCE, key: "" });
    };
    this.#jobs.start(
      { kind: "announce", amount: 1 },
      () => this.#options.announce(offer),
      () => again(ANNOUNCE_PERIOD_MS),
      (error) => {
        this.#context.trace("announce failed", { service: offer.service, reason: reasonOf(error) });
        again(LOOK_PERIOD_MS_MIN);
      },
    );
  }
}

/** Whether others need not hear at once of what has changed. */
function isSame(one: Offer | undefined, other: Offer): boolean {
  return one?.service === other.service && one.trains === other.trains &&
    (one.sessionRoom > 0) === (other.sessionRoom > 0);
}

/** The role that finds and is found. */
export function scout(options: ScoutOptions) {
  const memory: Memory = { wanted: new Map(), offer: undefined };
  return behaviour("scout", (context) => new Scout(context, options, memory));
}
