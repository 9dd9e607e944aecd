/**
 * The machine's clock. One of the few files that may read it.
 */

import type { Clock, Timer } from "./clock.ts";

/** Longest delay that the event loop takes; a longer one would fire at once. */
const LEG_MS_MAX = 2 ** 31 - 1;

/** Time as it passes. */
export class RealClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  epochMs(): number {
    return Date.now();
  }

  /**
   * Calls `fire` once, `delayMs` from now, however far that is.
   *
   * @throws {RangeError} if `delayMs` is not finite.
   */
  after(delayMs: number, fire: () => void): Timer {
    if (!Number.isFinite(delayMs)) {
      throw new RangeError(`Cannot set a timer: delay must be finite, got ${delayMs} ms`);
    }
    const dueMs = this.nowMs() + delayMs;
    let handle: ReturnType<typeof setTimeout>;
    const wait = (leftMs: number): void => {
      handle = leftMs > LEG_MS_MAX
        ? setTimeout(() => wait(dueMs - this.nowMs()), LEG_MS_MAX)
        : setTimeout(fire, Math.max(0, leftMs));
    };
    wait(delayMs);
    return { cancel: () => clearTimeout(handle) };
  }
}
