/**
 * Ctrl-C, SIGTERM and the end of a leash as one `AbortSignal`. The first asks to
 * end; the second does not ask. It refuses to decide what ending means: that is
 * the command's.
 */

import { Exit, EXIT_INTERRUPTED } from "./arguments.ts";
import { holdLeash } from "./leash.ts";

/** Whoever has work to end holds one of these. */
export interface Interruption extends Disposable {
  /** Aborted at the first signal, with {@link Exit} as the reason, for `throwIfAborted`. */
  readonly signal: AbortSignal;
}

/** What else there is to listen for. */
export interface InterruptionOptions {
  /** What the second signal does; ends the process if not given. */
  readonly insist?: () => void;
  /** Whether standard input is a leash, see `leash.ts`. */
  readonly leash?: boolean;
}

const SIGNALS = Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Listens until it is disposed of. */
export function listenForInterruption(options: InterruptionOptions = {}): Interruption {
  const { insist = () => Deno.exit(EXIT_INTERRUPTED) } = options;
  const controller = new AbortController();
  const ask = () => controller.abort(new Exit(EXIT_INTERRUPTED));
  const listener = () => controller.signal.aborted ? insist() : ask();
  for (const name of SIGNALS) Deno.addSignalListener(name, listener);
  if (options.leash) holdLeash().addEventListener("abort", ask, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of SIGNALS) Deno.removeSignalListener(name, listener);
    },
  };
}

/** Rejects with the signal's reason once it is aborted; never resolves. */
export function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Resolves once the signal is aborted; never rejects. */
export function aborted(signal: AbortSignal): Promise<void> {
  return rejectOnAbort(signal).catch(() => {});
}
