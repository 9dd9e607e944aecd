/**
 * Bounds work in time, by a clock that is given. Stands where
 * `AbortSignal.timeout` would read the machine's.
 */

import type { Clock } from "../core/clock.ts";

/**
 * Runs `work` with a signal that is aborted after `limitMs`, or when `outer` is.
 * Settles no later than that, whether or not the work heeds its signal.
 *
 * @throws {DOMException} `TimeoutError` after `limitMs`; otherwise what the work, or `outer`, throws.
 */
export function within<T>(
  clock: Clock,
  limitMs: number,
  work: (signal: AbortSignal) => Promise<T>,
  outer?: AbortSignal,
): Promise<T> {
  const controller = new AbortController();
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const stop = (reason: unknown): void => {
    controller.abort(reason);
    reject(reason);
  };
  const onOuter = () => stop(outer!.reason);
  const timer = clock.after(
    limitMs,
    () => stop(new DOMException(`no answer within ${limitMs} ms`, "TimeoutError")),
  );
  if (outer?.aborted) onOuter();
  else outer?.addEventListener("abort", onOuter, { once: true });
  work(controller.signal).then(resolve, reject);
  return promise.finally(() => {
    timer.cancel();
    outer?.removeEventListener("abort", onOuter);
  });
}
