/**
 * Which services a host wants to hear of: several of its parts may want to hear of one, for reasons of
 * their own. It looks for nobody itself; that is what the scout does.
 */

import type { Context } from "../core/actor.ts";
import type { Message } from "../messages.ts";

/** Why a host wants to hear of a stage: its walks go there, it may move there, or its first state is there. */
export type WatchPurpose = "next" | "look" | "first";

/** What one host watches. */
export class Watches {
  readonly #context: Context<Message>;
  readonly #purposes = new Map<string, Set<WatchPurpose>>();

  constructor(context: Context<Message>) {
    this.#context = context;
  }

  /** Wants to hear who offers a service, or for this purpose not any more. */
  watch(service: string, purpose: WatchPurpose, wanted: boolean): void {
    const { actor } = this.#context;
    const purposes = this.#purposes.get(service) ?? new Set();
    this.#purposes.set(service, purposes);
    if (wanted) purposes.add(purpose);
    else purposes.delete(purpose);
    // The scout looks at once when it is asked anew.
    if (wanted) this.#context.tell({ actor: "scout" }, { kind: "watch", service, subscriber: actor });
    if (purposes.size > 0) return;
    this.#purposes.delete(service);
    this.#context.tell({ actor: "scout" }, { kind: "unwatch", service, subscriber: actor });
  }
}
