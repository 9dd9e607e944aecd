/**
 * Hands walks to hosts of one stage, and sees each through until the owner has
 * what it sent it for, as a rule until its gradient has come back. Whoever is refused, kept
 * waiting or left goes to another host while the sender still holds what it
 * sends; after that the owner is told that the walk is broken. Used by every role
 * that sends walks: a host to its next stage, and a trainer to the first.
 * It chooses nothing itself (see `routing/`), and sets no time for the way back:
 * a walk's issuer does, and says when it has waited long enough.
 *
 *     offered → computed → returned
 *        │ silent   │ given up → suspected ─ excused: somebody behind it is to blame
 *        ↓          ↓                └────── silent: it is to blame, and all it has goes elsewhere
 *     another host  broken
 */

import type { Context, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { type Announcement, Router } from "../routing/mod.ts";
import { EXCUSE_MS_MAX, HOP_TIMEOUT_FACTOR, HOP_TIMEOUT_MS_MIN, LOOK_PERIOD_MS_MIN } from "./limits.ts";
import { type Message, type MessageOf, type Walk, walkKey } from "./messages.ts";

/** A walk that no host has computed yet. */
interface Offer {
  readonly key: string;
  readonly message: MessageOf<"forward">;
  readonly tokens: number;
  /** Who has it now; nobody while it waits for a host. */
  to: PeerId | undefined;
  /** Everybody who was ever sent it. */
  readonly tried: Set<PeerId>;
  readonly offeredAtMs: number;
  sentAtMs: number;
  /** When its holder's time began; it begins anew when the holder takes it in. */
  waitingSinceMs: number;
  admitted: boolean;
  timer: Timer | undefined;
}

/** A walk that was computed, and whose gradient has not come back. */
interface Computed {
  readonly walk: Walk;
  readonly stage: number;
  readonly by: PeerId;
  readonly tried: ReadonlySet<PeerId>;
  readonly sinceMs: number;
}

/** A walk that was given up, while its host has not said that it waits for somebody itself. */
interface Suspicion {
  readonly walk: Walk;
  readonly of: PeerId;
  readonly waitedMs: number;
  readonly timer: Timer;
}

/** What the owner's `timer` messages of a dispatch are named. */
export const DISPATCH_TIMER = "dispatch";

/** What a dispatch asks of its owner. */
export interface DispatchOwner {
  /** A walk that this dispatch can't see through any more. It has let go of it. */
  readonly broken: (walk: Walk, reason: string) => void;
  /** A walk that nobody takes, or whose takers are silent, for so long is broken. Without it the owner keeps the time. */
  readonly offerMsMax?: number;
  /** Seconds that the owner needs itself for such a walk, 0 if it can't tell: hosts of which nothing is known may need as long. */
  readonly ownSeconds?: () => number;
}

/** The walks that one role has on the way to one stage, and through it. */
export class Dispatch {
  readonly #context: Context<Message>;
  readonly #owner: DispatchOwner;
  readonly #router: Router;
  readonly #offers = new Map<string, Offer>();
  readonly #computed = new Map<string, Computed>();
  readonly #suspicions = new Map<string, Suspicion>();
  /** When each host last computed something for this sender. */
  readonly #progressAtMs = new Map<PeerId, number>();

  constructor(context: Context<Message>, owner: DispatchOwner) {
    this.#context = context;
    this.#owner = owner;
    this.#router = new Router({ uniform: () => context.entropy.uniform() });
  }

  /** Walks that are not over: on offer, or on their way back. */
  get size(): number {
    return this.#offers.size + this.#computed.size;
  }

  /** Hosts that are known. */
  get hosts(): number {
    return this.#router.peers().length;
  }

  // --- the walk, as it should go ------------------------------------------------------------------

  /** Sends a walk to some host of the stage, now or as soon as there is one. */
  offer(message: MessageOf<"forward">, tokens: number): void {
    const key = walkKey(message.walk);
    const nowMs = this.#context.clock.nowMs();
    const offer: Offer = {
      key,
      message,
      tokens,
      to: undefined,
      tried: new Set(),
      offeredAtMs: nowMs,
      sentAtMs: nowMs,
      waitingSinceMs: nowMs,
      admitted: false,
      timer: undefined,
    };
    this.#offers.set(key, offer);
    this.#place(offer);
  }

  /** Who offers the stage now. Whoever said that it does not train may do so by now, and refuses otherwise. */
  found(announcements: readonly Announcement[]): void {
    this.#router.learn(announcements);
    for (const peer of this.#progressAtMs.keys()) {
      if (!this.#router.has(peer)) this.#progressAtMs.delete(peer);
    }
    this.#placeWaiting();
  }

  /** The host has it in its queue: its time starts anew. */
  admitted(from: PeerId, { walk }: MessageOf<"admitted">): void {
    const offer = this.#held(from, walk);
    if (offer === undefined || offer.admitted) return;
    offer.admitted = true;
    this.#awaitComputed(offer, from);
  }

  /** The host has no room: not a failure, but another one may have. */
  refused(from: PeerId, { walk, retryAfterMs }: MessageOf<"refused">): void {
    const offer = this.#held(from, walk);
    if (offer === undefined) return;
    this.#router.refused(from, this.#context.clock.nowMs() + retryAfterMs);
    this.#place(offer);
  }

  /**
   * The host has computed it, so that the walk is no longer on offer.
   * @returns `false` if it was not this host's to compute.
   */
  processed(from: PeerId, { walk }: MessageOf<"processed">): boolean {
    const offer = this.#held(from, walk);
    if (offer === undefined) return false;
    const { stage } = offer.message;
    const nowMs = this.#context.clock.nowMs();
    // What the sender saw, link and queue included: the host's own word could flatter.
    this.#router.settle(from, { tokens: offer.tokens, seconds: (nowMs - offer.sentAtMs) / 1000 });
    this.#progressAtMs.set(from, nowMs);
    this.#drop(offer);
    this.#computed.set(offer.key, { walk, stage, by: from, tried: offer.tried, sinceMs: nowMs });
    // Of a walk that is trained on more is expected before a failure is forgotten.
    if (walk.purpose !== "train") this.#router.succeeded(from, "computed");
    this.#placeWaiting();
    return true;
  }

  /**
   * The gradient has come back, so that the walk is over here.
   * @returns `false` if this host was never sent it.
   */
  returned(from: PeerId, walk: Walk): boolean {
    const key = walkKey(walk);
    const computed = this.#computed.get(key);
    const offer = this.#offers.get(key);
    if (!(computed ?? offer)?.tried.has(from)) return false;
    this.#computed.delete(key);
    // It can be faster than the word that it was computed, and come from one who was given up.
    if (offer !== undefined) this.withdraw(walk);
    this.#router.succeeded(from, "returned");
    this.#placeWaiting();
    return true;
  }

  // --- the walk, as it may end --------------------------------------------------------------------

  /** Forgets a walk, and blames nobody. */
  withdraw(walk: Walk): void {
    const key = walkKey(walk);
    this.#computed.delete(key);
    const offer = this.#offers.get(key);
    if (offer === undefined) return;
    if (offer.to !== undefined) this.#router.withdrawn(offer.to);
    this.#drop(offer);
  }

  /** The issuer has waited long enough: whoever has it is told, and has to say why. */
  giveUp(walk: Walk): void {
    const key = walkKey(walk);
    const offer = this.#offers.get(key);
    const computed = this.#computed.get(key);
    // Who is still computing has a time of its own.
    if (offer?.to !== undefined) this.#tellGivenUp(offer.to, offer.message);
    this.withdraw(walk);
    if (computed === undefined) return;
    this.#tellGivenUp(computed.by, computed);
    // Nothing else comes back this way, so that nobody on it can be told from the others.
    if (walk.purpose !== "train") return;
    const { by, sinceMs } = computed;
    const nowMs = this.#context.clock.nowMs();
    this.#router.suspect(by, nowMs + EXCUSE_MS_MAX);
    this.#suspicions.get(key)?.timer.cancel();
    this.#suspicions.set(key, {
      walk,
      of: by,
      waitedMs: nowMs - sinceMs,
      timer: this.#timerFor(key, EXCUSE_MS_MAX, "unexcused"),
    });
  }

  /**
   * The host has let go of a walk, of its own accord or because it was told to.
   * @returns whether it had the walk, so that it ends here.
   */
  abandoned(from: PeerId, walk: Walk): boolean {
    const key = walkKey(walk);
    const suspicion = this.#suspicions.get(key);
    if (suspicion?.of === from) {
      suspicion.timer.cancel();
      this.#suspicions.delete(key);
      const nowMs = this.#context.clock.nowMs();
      this.#router.excused(from, { waitedMs: suspicion.waitedMs, nowMs });
      this.#placeWaiting();
    }
    return this.#computed.get(key)?.by === from || this.#offers.get(key)?.to === from;
  }

  /** A peer is gone: what it had goes to another, and what it had computed is lost. */
  lost(peer: PeerId): void {
    if (this.#router.has(peer)) this.#router.failed(peer, this.#context.clock.nowMs());
    for (const [key, { of, timer }] of [...this.#suspicions]) {
      if (of !== peer) continue;
      timer.cancel();
      this.#suspicions.delete(key);
    }
    this.#takeAll(peer, `host ${peer} was lost`, { tell: false });
  }

  /** One of this dispatch's timers fired. */
  timer(key: string): void {
    const [what, ...rest] = key.split(" ");
    const walk = rest.join(" ");
    if (what === "unexcused") return this.#onUnexcused(walk);
    const offer = this.#offers.get(walk);
    if (offer === undefined) return;
    if (what === "silent" && offer.to !== undefined && this.#isAtWork(offer, offer.to)) {
      // Slow, not silent: it works through what it has.
      return this.#awaitComputed(offer, offer.to);
    }
    if (this.#isTooOld(offer)) {
      const { walk, stage } = offer.message;
      this.giveUp(walk);
      this.#owner.broken(walk, `no host of stage ${stage} computed it within ${this.#owner.offerMsMax} ms`);
    } else if (what === "silent" && offer.to !== undefined) this.#onSilent(offer, offer.to);
    else this.#place(offer);
  }

  /** Whether it has computed something since this walk's time began. */
  #isAtWork({ admitted, waitingSinceMs }: Offer, to: PeerId): boolean {
    return admitted && (this.#progressAtMs.get(to) ?? -Infinity) > waitingSinceMs;
  }

  #onSilent(offer: Offer, to: PeerId): void {
    const nowMs = this.#context.clock.nowMs();
    const waitedSeconds = (nowMs - offer.sentAtMs) / 1000;
    this.#context.trace("hop timed out", { to, walk: offer.key, waitedSeconds });
    this.#router.timedOut(to, { tokens: offer.tokens, waitedSeconds, nowMs });
    this.#takeAll(to, `host ${to} was silent for ${Math.round(nowMs - offer.sentAtMs)} ms`, { tell: true });
  }

  #onUnexcused(key: string): void {
    const suspicion = this.#suspicions.get(key);
    if (suspicion === undefined) return;
    this.#suspicions.delete(key);
    const { of, waitedMs } = suspicion;
    const nowMs = this.#context.clock.nowMs();
    this.#context.trace("never returned", { from: of, walk: key, waitedMs });
    this.#router.unreturned(of, { waitedMs, nowMs });
    this.#takeAll(of, `host ${of} returns nothing`, { tell: true });
  }

  /** Nobody waits for this peer any more: one failure costs one wait, however much it has. */
  #takeAll(peer: PeerId, reason: string, { tell }: { readonly tell: boolean }): void {
    const offers = [...this.#offers.values()].filter(({ to }) => to === peer);
    const computed = [...this.#computed].filter(([, { by }]) => by === peer);
    for (const offer of offers) {
      offer.to = undefined;
      if (tell) this.#tellGivenUp(peer, offer.message);
    }
    for (const [key, one] of computed) {
      this.#computed.delete(key);
      if (tell) this.#tellGivenUp(peer, one);
    }
    this.#placeWaiting();
    for (const [, { walk }] of computed) this.#owner.broken(walk, reason);
  }

  // --- placing ------------------------------------------------------------------------------------

  #held(from: PeerId, walk: Walk): Offer | undefined {
    const offer = this.#offers.get(walkKey(walk));
    return offer?.to === from ? offer : undefined;
  }

  #placeWaiting(): void {
    for (const offer of [...this.#offers.values()]) if (offer.to === undefined) this.#place(offer);
  }

  #place(offer: Offer): void {
    offer.timer?.cancel();
    offer.to = undefined;
    offer.admitted = false;
    const nowMs = this.#context.clock.nowMs();
    for (let tries = this.#router.peers().length; tries > 0; tries--) {
      const choice = this.#router.choose({ tokens: offer.tokens, nowMs });
      if (choice.peer === undefined) {
        return this.#setTimer(offer, (choice.retryAtMs ?? Infinity) - nowMs, "again");
      }
      if (this.#context.tell({ peer: choice.peer, actor: "host" }, offer.message)) {
        offer.to = choice.peer;
        offer.tried.add(choice.peer);
        offer.sentAtMs = nowMs;
        return this.#awaitComputed(offer, choice.peer);
      }
      this.#router.failed(choice.peer, nowMs);
    }
    // Nobody is known: the next `found` tries again. Nobody can be reached: perhaps soon.
    this.#setTimer(offer, this.#router.peers().length > 0 ? LOOK_PERIOD_MS_MIN : Infinity, "again");
  }

  #awaitComputed(offer: Offer, to: PeerId): void {
    offer.waitingSinceMs = this.#context.clock.nowMs();
    const ownSeconds = this.#owner.ownSeconds?.() || undefined;
    const usualMs = HOP_TIMEOUT_FACTOR * 1000 * this.#router.usualSeconds(to, offer.tokens, ownSeconds);
    this.#setTimer(offer, Math.max(HOP_TIMEOUT_MS_MIN, usualMs), "silent");
  }

  /** @param delayMs at most what is left of the offer's time; if that has no end, `Infinity` is never. */
  #setTimer(offer: Offer, delayMs: number, what: "silent" | "again"): void {
    offer.timer?.cancel();
    const leftMs = (this.#owner.offerMsMax ?? Infinity) - this.#ageMs(offer);
    const firstMs = Math.max(1, offer.admitted ? delayMs : Math.min(delayMs, leftMs));
    offer.timer = firstMs === Infinity ? undefined : this.#timerFor(offer.key, firstMs, what);
  }

  #timerFor(key: string, delayMs: number, what: "silent" | "again" | "unexcused"): Timer {
    return this.#context.after(delayMs, { kind: "timer", name: DISPATCH_TIMER, key: `${what} ${key}` });
  }

  #ageMs(offer: Offer): number {
    return this.#context.clock.nowMs() - offer.offeredAtMs;
  }

  #isTooOld(offer: Offer): boolean {
    return this.#ageMs(offer) >= (this.#owner.offerMsMax ?? Infinity);
  }

  #tellGivenUp(peer: PeerId, { walk, stage }: { readonly walk: Walk; readonly stage: number }): void {
    this.#context.tell({ peer, actor: "host" }, { kind: "givenUp", walk, stage });
  }

  #drop(offer: Offer): void {
    offer.timer?.cancel();
    this.#offers.delete(offer.key);
  }
}
