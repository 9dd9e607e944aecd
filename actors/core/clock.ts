/**
 * Time as an argument. Nothing in the house reads the machine's clock but the
 * implementations of this interface, so that a swarm can run on virtual time.
 */

/** A timer that can be called off. */
export interface Timer {
  /** Calls it off; nothing happens if it has fired. */
  cancel(): void;
}

/** Where time comes from. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  nowMs(): number;
  /** Milliseconds since the Unix epoch, for expiries that others read. */
  epochMs(): number;
  /** Calls `fire` once, `delayMs` from now. */
  after(delayMs: number, fire: () => void): Timer;
}
