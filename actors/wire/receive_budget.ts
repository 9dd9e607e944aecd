/**
 * Memory for frames that are only half here, shared by all streams of a wire. A
 * peer that announces a large frame is heard when there is room for it; until
 * then its stream is paused and it can send no more.
 *
 * It counts complete frames no longer: they are their receiver's.
 */

import { RECEIVE_BYTES_MAX } from "../limits.ts";

/** Room for one frame. */
export interface Lease {
  /** Whether the room is there; if not, `granted` is called when it is. */
  readonly held: boolean;
  /** Gives the room back, or the place in the queue. Once or more often. */
  release(): void;
}

interface Claim {
  readonly bytes: number;
  readonly granted: () => void;
  state: "waiting" | "held" | "released";
}

/** First come, first served. */
export class ReceiveBudget {
  readonly #bytesMax: number;
  #bytes = 0;
  /** In the order in which they came. */
  readonly #waiting = new Set<Claim>();

  constructor(bytesMax = RECEIVE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes that are held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Asks for room. A claim above the whole budget is served when nothing else is held. */
  claim(bytes: number, granted: () => void): Lease {
    const claim: Claim = { bytes, granted, state: "waiting" };
    if (this.#waiting.size === 0 && this.#fits(bytes)) this.#hold(claim);
    else this.#waiting.add(claim);
    return {
      get held() {
        return claim.state === "held";
      },
      release: () => this.#release(claim),
    };
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax;
  }

  #hold(claim: Claim): void {
    claim.state = "held";
    this.#bytes += claim.bytes;
  }

  #release(claim: Claim): void {
    if (claim.state === "held") this.#bytes -= claim.bytes;
    this.#waiting.delete(claim);
    claim.state = "released";
    for (const next of this.#waiting) {
      if (!this.#fits(next.bytes)) break;
      this.#waiting.delete(next);
      this.#hold(next);
      next.granted();
    }
  }
}
