/**
 * Time as an argument: what this room asks of a clock. It has none of its own;
 * every clock of the house fits.
 */

/** Where time comes from. */
export interface LedgerClock {
  /** Milliseconds since the Unix epoch: what a chain's expiries are compared with. */
  epochMs(): number;
  /** Calls `fire` once, `delayMs` from now. */
  after(delayMs: number, fire: () => void): { cancel(): void };
}

/**
 * Lets time pass.
 *
 * @throws the signal's reason, at once when it is aborted.
 */
export function pause(clock: LedgerClock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const end = () => {
      timer.cancel();
      reject(signal!.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener("abort", end);
      resolve();
    });
    signal?.addEventListener("abort", end, { once: true });
  });
}
