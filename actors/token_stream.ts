/**
 * The tokens of one text on their way from an actor to whoever awaits them. They
 * are put in as they come; the reader is never waited for, as a text has a bound.
 */

import type { DrawnToken } from "../run/mod.ts";

/** Who fills a stream. */
export interface TokenSource {
  /** Called once, when the first token is asked for. */
  begin(): void;
  /** Called once if the stream is left, or aborted, before it is over; not if it has not begun. */
  leave(): void;
}

/** One text's tokens. */
export class TokenStream {
  /** For whoever takes them: to be iterated over, once. */
  readonly tokens: AsyncIterable<DrawnToken>;
  #controller!: ReadableStreamDefaultController<DrawnToken>;
  #state: "new" | "open" | "over" = "new";
  readonly #source: TokenSource;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#abort();

  /** A stream that nobody has asked yet. */
  constructor(source: TokenSource, signal?: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
    this.tokens = new ReadableStream<DrawnToken>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#begin(),
      cancel: () => this.#left(),
    }, { highWaterMark: 0 });
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted) this.#abort();
  }

  /** Whether more are wanted. */
  get open(): boolean {
    return this.#state === "open";
  }

  /** One more; nothing happens if none is wanted. */
  push(token: DrawnToken): void {
    if (this.open) this.#controller.enqueue(token);
  }

  /** There are no more. */
  end(): void {
    if (!this.open) return;
    this.#close();
    this.#controller.close();
  }

  /** There are no more, and why. What nobody has taken yet is lost. */
  fail(error: unknown): void {
    if (!this.open) return;
    this.#close();
    this.#controller.error(error);
  }

  #begin(): void {
    if (this.#state !== "new") return;
    this.#state = "open";
    this.#source.begin();
  }

  #abort(): void {
    this.#left();
    this.#controller.error(this.#signal!.reason);
  }

  #left(): void {
    const wasOpen = this.open;
    this.#close();
    if (wasOpen) this.#source.leave();
  }

  #close(): void {
    this.#state = "over";
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}
