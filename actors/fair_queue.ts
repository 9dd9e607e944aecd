/**
 * Who is next, where several owners have several things that wait: the owners
 * take turns, and of each the oldest goes first. So whoever has much to do waits
 * for itself, and not others for it. It knows nothing of what waits.
 */

/** Things that wait, by owner. */
export class FairQueue<Owner, Item> {
  /** The owner whose turn is next stands first; none without items. */
  readonly #items = new Map<Owner, Set<Item>>();
  #size = 0;

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** Puts it behind all of its owner's; it must not wait already. */
  push(owner: Owner, item: Item): void {
    const own = this.#items.get(owner) ?? new Set();
    this.#items.set(owner, own.add(item));
    this.#size++;
  }

  /** It waits no more; nothing happens if it does not wait. */
  delete(owner: Owner, item: Item): void {
    const own = this.#items.get(owner);
    if (!own?.delete(item)) return;
    this.#size--;
    if (own.size === 0) this.#items.delete(owner);
  }

  /** Takes up to `max` out: one of each owner, then another of each. */
  take(max: number): Item[] {
    const taken: Item[] = [];
    while (taken.length < max && this.#size > 0) {
      for (const [owner, own] of [...this.#items].slice(0, max - taken.length)) {
        const [oldest] = own;
        taken.push(oldest);
        this.delete(owner, oldest);
        // Whoever had a turn is behind all that had none.
        if (this.#items.delete(owner)) this.#items.set(owner, own);
      }
    }
    return taken;
  }
}
