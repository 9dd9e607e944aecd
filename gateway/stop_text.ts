/**
 * Ends a text where one of some strings begins. What could still become one of
 * them is held back, so that nobody is shown the beginning of what ends the text.
 * It knows no tokens: a string may lie across as many of them as it likes.
 */

/** Watches one text. */
export class StopText {
  readonly #stops: readonly string[];
  #held = "";
  #stopped = false;

  /** @param stops none of them empty. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Whether one of the strings has been met. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /**
   * Takes what comes next.
   *
   * @returns what of the text is certain now; nothing once it is {@link stopped}.
   */
  push(text: string): string {
    if (this.#stopped) return "";
    const all = this.#held + text;
    const end = this.#earliest(all);
    if (end !== undefined) {
      this.#stopped = true;
      this.#held = "";
      return all.slice(0, end);
    }
    const kept = this.#openLength(all);
    this.#held = all.slice(all.length - kept);
    return all.slice(0, all.length - kept);
  }

  /** What was held back, as nothing more comes. */
  end(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  #earliest(text: string): number | undefined {
    const places = this.#stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
    return places.length === 0 ? undefined : Math.min(...places);
  }

  /** Length of the longest end of the text that is the beginning of a string. */
  #openLength(text: string): number {
    const longest = Math.max(0, ...this.#stops.map((stop) => stop.length - 1));
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const end = text.slice(text.length - length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
