/**
 * All that two peers share: up to one control and one bulk stream each way, so
 * that a small answer need not wait behind a large tensor.
 *
 * A link is whole or gone. Whatever goes wrong on one of its streams ends all of
 * them, drops what was queued, and is told once. It never retries.
 */

import type { Stream } from "@libp2p/interface";
import type { PeerId } from "../core/actor.ts";
import { encodeFrame } from "./codec.ts";
import { readBulk, readControl, type Receiver } from "./receiving.ts";
import { SendQueue, writeAll } from "./sending.ts";
import type { Frame } from "./wire.ts";

/** The streams of one direction: frames with tensors go by bulk, all others by control. */
export const KINDS = ["control", "bulk"] as const;
export type Kind = typeof KINDS[number];

/** What a link needs of its wire. */
export interface LinkInit {
  readonly peer: PeerId;
  /** Opens a stream to the peer. Rejects if it cannot be reached. */
  readonly dial: (kind: Kind, signal: AbortSignal) => Promise<Stream>;
  readonly receiver: Receiver;
  /** Takes a frame. A throw ends the link. */
  readonly deliver: (frame: Frame) => void;
  /** The link is gone. Called once, and not by `end` itself while it runs. */
  readonly lost: (reason: string) => void;
}

/** One peer's streams. */
export class Link {
  readonly peer: PeerId;
  readonly #init: LinkInit;
  readonly #outgoing = new Map<Kind, SendQueue>();
  readonly #incoming = new Set<Kind>();
  readonly #writing: Promise<void>[] = [];
  readonly #streams = new Set<Stream>();
  readonly #ending = new AbortController();

  constructor(init: LinkInit) {
    this.peer = init.peer;
    this.#init = init;
  }

  /** Whether the peer has opened this stream already. */
  hears(kind: Kind): boolean {
    return this.#incoming.has(kind);
  }

  /** Queues a frame; the first of its kind opens the stream. `false` if the queue is full. */
  send(frame: Frame): boolean {
    const kind = frame.tensors.length > 0 ? "bulk" : "control";
    const pieces = encodeFrame(frame);
    let queue = this.#outgoing.get(kind);
    if (queue === undefined) {
      queue = new SendQueue();
      this.#outgoing.set(kind, queue);
      this.#writing.push(this.#write(kind, queue));
    }
    return queue.push(pieces);
  }

  /** Reads frames from a stream that the peer opened. */
  accept(kind: Kind, stream: Stream): void {
    this.#incoming.add(kind);
    this.#hold(stream);
    const deliver = (frame: Frame) => this.#deliver(frame);
    const read = kind === "control"
      ? readControl(stream, deliver)
      : readBulk(stream, deliver, this.#init.receiver);
    read.then(
      () => this.#fail("the peer closed its stream"),
      (error) => this.#fail(reasonOf(error)),
    );
  }

  /** Lets queued frames leave, and takes no more. Resolves when they have, or the link is gone. */
  async flush(): Promise<void> {
    for (const queue of this.#outgoing.values()) queue.end();
    await Promise.all(this.#writing);
  }

  /** Ends every stream and drops what is queued, silently. */
  end(reason: string): void {
    if (this.#ending.signal.aborted) return;
    const error = new Error(reason);
    this.#ending.abort(error);
    for (const queue of this.#outgoing.values()) queue.clear();
    for (const stream of this.#streams) stream.abort(error);
  }

  async #write(kind: Kind, queue: SendQueue): Promise<void> {
    try {
      const stream = await this.#init.dial(kind, this.#ending.signal);
      this.#hold(stream);
      await writeAll(stream, queue);
    } catch (error) {
      this.#fail(reasonOf(error));
    }
  }

  #hold(stream: Stream): void {
    if (this.#ending.signal.aborted) return stream.abort(this.#ending.signal.reason);
    this.#streams.add(stream);
    // A peer that dies closes its streams cleanly: an unasked-for close is a loss too.
    stream.addEventListener(
      "close",
      (event) => this.#fail(event.error ? reasonOf(event.error) : "the peer is gone"),
    );
  }

  #deliver(frame: Frame): void {
    if (!this.#ending.signal.aborted) this.#init.deliver(frame);
  }

  #fail(reason: string): void {
    if (this.#ending.signal.aborted) return;
    this.end(reason);
    this.#init.lost(reason);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
