/**
 * Reads one incoming stream into frames. Two ways, for two kinds of traffic:
 * control frames go through a small pipe; frames with tensors are taken straight
 * from the stream's events, which can be paused.
 *
 * It believes nothing: whatever is malformed, and an end in the middle of a
 * frame, rejects; the caller ends the stream.
 */

import type { Stream } from "@libp2p/interface";
import { pipe } from "it-pipe";
import type { Uint8ArrayList } from "uint8arraylist";
import { FrameDecoder } from "./codec.ts";
import type { Frame } from "./wire.ts";

type Bytes = Uint8Array | Uint8ArrayList;

/** Runs until the stream ends, then resolves; each frame is handed over as it completes. */
export function readControl(stream: Stream, deliver: (frame: Frame) => void): Promise<void> {
  return pipe(stream, decode, async (frames) => {
    for await (const frame of frames) deliver(frame);
  });
}

async function* decode(chunks: AsyncIterable<Bytes>): AsyncGenerator<Frame> {
  const decoder = new FrameDecoder();
  for await (const chunk of chunks) {
    for (const part of parts(chunk)) yield* decoder.push(part);
  }
  decoder.finish();
}

/** Like {@link readControl}, for large frames: no queue in between. */
export function readBulk(stream: Stream, deliver: (frame: Frame) => void): Promise<void> {
  const decoder = new FrameDecoder();
  return new Promise((resolve, reject) => {
    const attempt = (action: () => void): void => {
      try {
        action();
      } catch (error) {
        reject(error);
      }
    };
    stream.addEventListener("message", (event) =>
      attempt(() => {
        for (const part of parts(event.data)) {
          for (const frame of decoder.push(part)) deliver(frame);
        }
      }));
    const onEnd = () =>
      attempt(() => {
        decoder.finish();
        resolve();
      });
    stream.addEventListener("remoteCloseWrite", onEnd);
    stream.addEventListener("close", (event) => event.error ? reject(event.error) : onEnd());
  });
}

function parts(chunk: Bytes): Iterable<Uint8Array> {
  return chunk instanceof Uint8Array ? [chunk] : chunk;
}
