/**
 * Reads one incoming stream into frames. Two ways, for two kinds of traffic:
 * control frames go through a small pipe; frames with tensors are taken straight
 * from the stream's events, which alone can be paused.
 *
 * It believes nothing: whatever is malformed, and an end in the middle of a
 * frame, rejects; the caller ends the stream.
 */

import type { Stream } from "@libp2p/interface";
import { pipe } from "it-pipe";
import type { Uint8ArrayList } from "uint8arraylist";
import type { Clock, Timer } from "../core/clock.ts";
import { FRAME_ARRIVAL_MS_MAX, RECEIVE_SMALL_BYTES_MAX } from "../limits.ts";
import { FrameDecoder } from "./codec.ts";
import type { Lease, ReceiveBudget } from "./receive_budget.ts";
import { BadFrame, type Frame } from "./wire.ts";

type Bytes = Uint8Array | Uint8ArrayList;

/**
 * Reads until the stream ends; each frame is handed over as it completes.
 *
 * @throws {BadFrame} if what arrives can't be believed, or `deliver` says so.
 */
export async function readControl(stream: Stream, deliver: (frame: Frame) => void): Promise<void> {
  await pipe(stream, decode, async (frames) => {
    for await (const frame of frames) deliver(frame);
  });
}

async function* decode(chunks: AsyncIterable<Bytes>): AsyncGenerator<Frame> {
  const decoder = new FrameDecoder(() => {
    throw new BadFrame("Cannot take frame: tensors have no place on a control stream");
  });
  for await (const chunk of chunks) {
    for (const part of parts(chunk)) yield* decoder.push(part);
  }
  decoder.finish();
}

/** What large frames share. */
export interface Receiver {
  readonly clock: Clock;
  readonly budget: ReceiveBudget;
}

/**
 * Like {@link readControl}, for large frames. Nothing queues up in between: a
 * frame for which there is no room pauses its stream.
 */
export function readBulk(stream: Stream, deliver: (frame: Frame) => void, receiver: Receiver): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let lease: Lease | undefined;
  let timer: Timer | undefined;

  const release = (): void => {
    lease?.release();
    timer?.cancel();
    lease = timer = undefined;
  };
  const begin = (): void => {
    timer = receiver.clock.after(FRAME_ARRIVAL_MS_MAX, () => {
      reject(new BadFrame(`Cannot take frame: it was not here after ${FRAME_ARRIVAL_MS_MAX} ms`));
    });
  };
  const allocate = (bytes: number): Uint8Array => {
    if (bytes > RECEIVE_SMALL_BYTES_MAX) {
      lease = receiver.budget.claim(bytes, () => {
        begin();
        if (stream.readStatus === "paused") stream.resume();
      });
      if (lease.held) begin();
      else stream.pause();
    }
    // Memory that is not written to yet costs nothing yet.
    return new Uint8Array(bytes);
  };

  const decoder = new FrameDecoder(allocate);
  const attempt = (action: () => void) => (): void => {
    try {
      action();
    } catch (error) {
      reject(error);
    }
  };
  const onEnd = attempt(() => {
    decoder.finish();
    resolve();
  });
  stream.addEventListener("message", ({ data }) =>
    attempt(() => {
      for (const part of parts(data)) {
        for (const frame of decoder.push(part)) {
          release();
          deliver(frame);
        }
      }
    })());
  stream.addEventListener("end", onEnd);
  stream.addEventListener("close", ({ error }) => error === undefined ? onEnd() : reject(error));
  return promise.finally(release);
}

function parts(chunk: Bytes): Iterable<Uint8Array> {
  return chunk instanceof Uint8Array ? [chunk] : chunk;
}
