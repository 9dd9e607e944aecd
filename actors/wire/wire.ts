/**
 * How peers reach each other: frames with a small header and raw tensors.
 * The wire knows neither models nor roles.
 */

import type { PeerId } from "../core/actor.ts";

/** A tensor on its way: raw little-endian bytes and what they mean. */
export interface WireTensor {
  /** Element type. */
  readonly dataType: "f32" | "i32" | "u8";
  /** Sizes, the slowest dimension first. */
  readonly shape: readonly number[];
  /** Exactly product(shape) × element size bytes, aligned for its element type. */
  readonly bytes: Uint8Array;
}

/** One message between peers. */
export interface Frame {
  /** CBOR-encodable: plain objects, arrays, strings, numbers, booleans, null, Uint8Array. */
  readonly header: unknown;
  /** In the order in which the header speaks of them. */
  readonly tensors: readonly WireTensor[];
}

/** What the owner of a wire is told. */
export interface WireEvents {
  /**
   * A well-formed frame. Throwing {@link BadFrame} ends that peer's stream with
   * the reason; any other throw is a bug.
   */
  onFrame(from: PeerId, frame: Frame): void;
  /** The connection to a peer is gone, or could not be made, or what was sent to it was dropped. */
  onLost(peer: PeerId, reason: string): void;
}

/** A frame that must not be believed. Its sender's stream is ended with the message as reason. */
export class BadFrame extends Error {
  /** Tells it from a bug. */
  override name = "BadFrame";
}

/** A way to other peers. */
export interface Wire {
  /** Whose end this is. */
  readonly self: PeerId;
  /** Starts delivering. Called once. */
  open(events: WireEvents): void;
  /**
   * Queues a frame; dials if need be. Frames between two peers arrive in order
   * within each of the two streams (frames with tensors: bulk; without: control).
   * The tensors' bytes must not change until the frame was answered.
   *
   * @returns `false` if the queue to that peer is full (see `limits.ts`) or the wire is closed.
   */
  send(to: PeerId, frame: Frame): boolean;
  /** Sends what is queued if it can, then breaks every connection. Nothing is delivered afterwards. */
  close(): Promise<void>;
}
