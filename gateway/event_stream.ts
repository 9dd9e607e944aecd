/**
 * Server-sent events: an answer's body that is made as fast as the client takes
 * it, and no faster. What was made and not taken is one event; a client that
 * takes nothing for long counts as gone.
 *
 * See the HTML standard, "Server-sent events".
 */

import type { Clock, Timer } from "../actors/core/clock.ts";
import { STALL_MS_MAX } from "./limits.ts";

/** One event that carries JSON. */
export function jsonEvent(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** What ends OpenAI's streams. */
export const DONE_EVENT = "data: [DONE]\n\n";

/**
 * The body of an answer.
 *
 * @param events asked for the next when the client has taken the one before.
 * @param abandon called once, if the client goes or stands still before the end.
 */
export function eventStream(
  clock: Clock,
  events: AsyncGenerator<string, void, void>,
  abandon: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let stall: Timer | undefined;
  const end = async () => {
    stall?.cancel();
    abandon();
    await events.return();
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      stall?.cancel();
      const { done, value } = await events.next();
      if (done) return controller.close();
      controller.enqueue(encoder.encode(value));
      stall = clock.after(STALL_MS_MAX, () => {
        controller.error(
          new Error(`Cannot go on with the answer: its client took nothing for ${STALL_MS_MAX} ms`),
        );
        end();
      });
    },
    cancel: end,
  });
}

/** Headers of such an answer; the last keeps proxies from gathering events. */
export const EVENT_STREAM_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};
