/**
 * Ctrl-C and SIGTERM as an `AbortSignal`. The first asks to end; the second
 * does not ask. It refuses to decide what ending means: that is the command's.
 */

import { EXIT_INTERRUPTED, Interrupted } from "./arguments.ts";

/** Whoever has work to end holds one of these. */
export interface Interruption extends Disposable {
  /** Aborted at the first signal, with {@link Interrupted} as the reason. */
  readonly signal: AbortSignal;
}

const SIGNALS = Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Listens until it is disposed of.
 *
 * @param insist what the second signal does; ends the process if not given.
 */
export function listenForInterruption(
  insist: () => void = () => Deno.exit(EXIT_INTERRUPTED),
): Interruption {
  const controller = new AbortController();
  const listener = () => {
    if (controller.signal.aborted) insist();
    else controller.abort(new Interrupted("Interrupted"));
  };
  for (const name of SIGNALS) Deno.addSignalListener(name, listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of SIGNALS) Deno.removeSignalListener(name, listener);
    },
  };
}

/** Resolves when the signal is aborted; never rejects. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
