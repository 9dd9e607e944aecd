/** A map of bounded size that forgets what was not asked for longest. */

/** Values by key, the most recently used ones. */
export class Recent<Item> {
  readonly #items = new Map<string, Item>();
  readonly #count: number;
  readonly #forgotten: (item: Item) => void;

  /**
   * @param count kept at most, at least 1.
   * @param forgotten called with each that is kept no longer.
   */
  constructor(count: number, forgotten: (item: Item) => void = () => {}) {
    this.#count = count;
    this.#forgotten = forgotten;
  }

  /** How many are kept now. */
  get size(): number {
    return this.#items.size;
  }

  get(key: string): Item | undefined {
    const item = this.#items.get(key);
    if (item === undefined) return undefined;
    this.#items.delete(key);
    this.#items.set(key, item);
    return item;
  }

  set(key: string, item: Item): void {
    this.delete(key);
    this.#items.set(key, item);
    if (this.#items.size <= this.#count) return;
    const [oldest] = this.#items.keys();
    this.delete(oldest);
  }

  delete(key: string): void {
    const item = this.#items.get(key);
    if (!this.#items.delete(key)) return;
    this.#forgotten(item!);
  }

  clear(): void {
    for (const key of [...this.#items.keys()]) this.delete(key);
  }
}
