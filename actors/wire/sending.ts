/**
 * What waits to be written to one stream, and how it is written: in chunks,
 * without copies, and never faster than the stream drains.
 *
 * It knows bytes only; what frames are is the codec's business.
 */

import type { Stream } from "@libp2p/interface";
import { Uint8ArrayList } from "uint8arraylist";
import { Queue } from "../core/queue.ts";
import { SEND_QUEUE_BYTES_MAX, SEND_QUEUE_FRAMES_MAX } from "../limits.ts";

/**
 * Bytes handed to the stream at once: what four noise messages hold, less the
 * multiplexer's header of 12 bytes. A larger chunk would hold up the other stream
 * of the connection, since each is delivered only when complete.
 */
export const CHUNK_BYTES = 4 * 65_519 - 12;

/** A stretch of a frame, and whether the frame ends with it. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly last: boolean;
}

/**
 * A bounded queue of encoded frames, read as chunks by one reader. Frames
 * that were queued together leave together.
 */
export class SendQueue implements AsyncIterable<Uint8ArrayList> {
  readonly #pieces = new Queue<Piece>();
  /** Bytes of the oldest piece that have left. */
  #offset = 0;
  #bytes = 0;
  #frames = 0;
  #ended = false;
  #wake: (() => void) | undefined;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Frames that wait, one that has left in part included. */
  get frames(): number {
    return this.#frames;
  }

  /** @returns `false` if there is no room for this frame, or the queue has ended. */
  push(pieces: readonly Uint8Array[]): boolean {
    const filled = pieces.filter((piece) => piece.byteLength > 0);
    const bytes = filled.reduce((sum, piece) => sum + piece.byteLength, 0);
    if (this.#ended || this.#frames >= SEND_QUEUE_FRAMES_MAX || this.#bytes + bytes > SEND_QUEUE_BYTES_MAX) {
      return false;
    }
    filled.forEach((piece, at) => this.#pieces.push({ bytes: piece, last: at === filled.length - 1 }));
    this.#bytes += bytes;
    this.#frames++;
    this.#wake?.();
    return true;
  }

  /** No more frames: the reader gets what is queued, and then the end. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** Drops what is queued, and ends. */
  clear(): void {
    this.#pieces.clear();
    this.#offset = this.#bytes = this.#frames = 0;
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8ArrayList> {
    while (true) {
      if (this.#bytes > 0) {
        yield this.#take();
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => this.#wake = resolve);
        this.#wake = undefined;
      }
    }
  }

  #take(): Uint8ArrayList {
    const chunk = new Uint8ArrayList();
    let room = CHUNK_BYTES;
    for (let piece = this.#pieces.peek(); piece !== undefined && room > 0; piece = this.#pieces.peek()) {
      const end = Math.min(piece.bytes.byteLength, this.#offset + room);
      chunk.append(piece.bytes.subarray(this.#offset, end));
      room -= end - this.#offset;
      this.#offset = end;
      if (end === piece.bytes.byteLength) {
        this.#pieces.shift();
        this.#offset = 0;
        if (piece.last) this.#frames--;
      }
    }
    this.#bytes -= chunk.byteLength;
    return chunk;
  }
}

/**
 * Writes chunks as fast as the stream takes them, and closes its writable end
 * when they end. The library's own `onDrain` resolves at once after its first
 * time, so the event is awaited here.
 *
 * @throws {Error} if the stream closes before all is written.
 */
export async function writeAll(stream: Stream, chunks: AsyncIterable<Uint8ArrayList>): Promise<void> {
  for await (const chunk of chunks) {
    if (!stream.send(chunk)) await drained(stream);
  }
  await stream.close();
}

/** Resolves when the stream takes more, and every other stream of its connection has had its turn. */
function drained(stream: Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void) => () => {
      stream.removeEventListener("drain", onDrain);
      stream.removeEventListener("close", onClose);
      then();
    };
    // All streams of a connection are told at once and then write in the order in which they were opened.
    // Whoever fills the connection at its turn starves those behind: pings die, and with them the connection.
    // Two microtasks later they have all written what they had.
    const onDrain = settle(() => queueMicrotask(() => queueMicrotask(resolve)));
    const onClose = settle(() => reject(new Error("the stream closed while it was being written")));
    stream.addEventListener("drain", onDrain);
    stream.addEventListener("close", onClose);
    if (stream.status !== "open") onClose();
  });
}
