/**
 * Hands walks to hosts of one stage, and sees each through until the host has
 * computed it: whoever is refused, kept waiting or left goes to another host,
 * because the sender still holds what it sends. Used by every role that sends
 * walks: a host to its next stage, a trainer and a reader to the first. It
 * chooses nothing itself (see `routing/`), and knows no way back.
 */

import type { Context, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { type Announcement, Router } from "../routing/mod.ts";
import { HOP_TIMEOUT_FACTOR, HOP_TIMEOUT_MS_MIN, LOOK_PERIOD_MS_MIN } from "./limits.ts";
import { type Message, type MessageOf, type Walk, walkKey } from "./messages.ts";

interface Offer {
  readonly key: string;
  readonly message: MessageOf<"forward">;
  readonly tokens: number;
  /** Who has it now; nobody while it waits for a host. */
  to: PeerId | undefined;
  /** Everybody who was ever sent it. */
  readonly tried: Set<PeerId>;
  sentAtMs: number;
  timer: Timer | undefined;
}

/** What the owner's `timer` messages of a dispatch are named. */
export const DISPATCH_TIMER = "dispatch";

/** The walks that one role has on offer to one stage. */
export class Dispatch {
  readonly #context: Context<Message>;
  readonly #router: Router;
  readonly #offers = new Map<string, Offer>();

  constructor(context: Context<Message>) {
    this.#context = context;
    this.#router = new Router({ uniform: () => context.entropy.uniform() });
  }

  /** Walks on offer. */
  get size(): number {
    return this.#offers.size;
  }

  /** Hosts that are known. */
  get hosts(): number {
    return this.#router.peers().length;
  }

  /** Sends a walk to some host of the stage, now or as soon as there is one. */
  offer(message: MessageOf<"forward">, tokens: number): void {
    const key = walkKey(message.walk);
    const offer: Offer = {
      key,
      message,
      tokens,
      to: undefined,
      tried: new Set(),
      sentAtMs: 0,
      timer: undefined,
    };
    this.#offers.set(key, offer);
    this.#place(offer);
  }

  /** Takes a walk back; nothing happens if it is not on offer. */
  withdraw(walk: Walk): void {
    const offer = this.#offers.get(walkKey(walk));
    if (offer !== undefined) this.#drop(offer);
  }

  /** Whether this host was ever sent a walk that is still on offer. */
  wasOffered(walk: Walk, to: PeerId): boolean {
    return this.#offers.get(walkKey(walk))?.tried.has(to) ?? false;
  }

  /** Who offers the stage now. */
  found(announcements: readonly Announcement[]): void {
    this.#router.learn(announcements);
    for (const offer of [...this.#offers.values()]) if (offer.to === undefined) this.#place(offer);
  }

  /** The host has it in its queue: its time starts anew. */
  admitted(from: PeerId, { walk }: MessageOf<"admitted">): void {
    const offer = this.#held(from, walk);
    if (offer !== undefined) this.#setTimer(offer, this.#timeoutMs(from, offer.tokens), "silent");
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
    // What the sender saw, link and queue included: the host's own word could flatter.
    const seconds = (this.#context.clock.nowMs() - offer.sentAtMs) / 1000;
    this.#router.settle(from, { tokens: offer.tokens, seconds });
    this.#drop(offer);
    return true;
  }

  /** A peer is gone: what it had goes to another. */
  lost(peer: PeerId): void {
    if (this.#router.has(peer)) this.#router.failed(peer, this.#context.clock.nowMs());
    for (const offer of [...this.#offers.values()]) if (offer.to === peer) this.#place(offer);
  }

  /** One of this dispatch's timers fired. */
  timer(key: string): void {
    const [what, ...rest] = key.split(" ");
    const offer = this.#offers.get(rest.join(" "));
    if (offer === undefined) return;
    if (what === "silent" && offer.to !== undefined) {
      const nowMs = this.#context.clock.nowMs();
      const waitedSeconds = (nowMs - offer.sentAtMs) / 1000;
      this.#context.trace("hop timed out", { to: offer.to, walk: offer.key, waitedSeconds });
      this.#router.timedOut(offer.to, { tokens: offer.tokens, waitedSeconds, nowMs });
    }
    this.#place(offer);
  }

  #held(from: PeerId, walk: Walk): Offer | undefined {
    const offer = this.#offers.get(walkKey(walk));
    return offer?.to === from ? offer : undefined;
  }

  #place(offer: Offer): void {
    offer.timer?.cancel();
    offer.to = undefined;
    const nowMs = this.#context.clock.nowMs();
    for (let tries = this.#router.peers().length; tries > 0; tries--) {
      const choice = this.#router.choose({ tokens: offer.tokens, nowMs });
      if (choice.peer === undefined) {
        if (choice.retryAtMs !== undefined) {
          this.#setTimer(offer, Math.max(1, choice.retryAtMs - nowMs), "again");
        }
        return;
      }
      if (this.#context.tell({ peer: choice.peer, actor: "host" }, offer.message)) {
        offer.to = choice.peer;
        offer.tried.add(choice.peer);
        offer.sentAtMs = nowMs;
        this.#setTimer(offer, this.#timeoutMs(choice.peer, offer.tokens), "silent");
        return;
      }
      this.#router.failed(choice.peer, nowMs);
    }
    // Nobody is known: the next `found` tries again. Nobody can be reached: perhaps soon.
    if (this.#router.peers().length > 0) this.#setTimer(offer, LOOK_PERIOD_MS_MIN, "again");
  }

  #timeoutMs(peer: PeerId, tokens: number): number {
    return Math.max(
      HOP_TIMEOUT_MS_MIN,
      HOP_TIMEOUT_FACTOR * 1000 * this.#router.expectedSeconds(peer, tokens),
    );
  }

  #setTimer(offer: Offer, delayMs: number, what: "silent" | "again"): void {
    offer.timer?.cancel();
    offer.timer = this.#context.after(delayMs, {
      kind: "timer",
      name: DISPATCH_TIMER,
      key: `${what} ${offer.key}`,
    });
  }

  #drop(offer: Offer): void {
    offer.timer?.cancel();
    this.#offers.delete(offer.key);
  }
}
