/** What one host has promised, on a disk that outlives its process, in memory. It forgets nothing. */

import type { Pledge } from "../actors/allegiance.ts";
import type { PledgeStore } from "../actors/host/following.ts";

/** The promises of one host. */
export class MemoryPledges implements PledgeStore {
  #pledge: Pledge | undefined;

  get initial(): Pledge | undefined {
    return this.#pledge;
  }

  save(pledge: Pledge): Promise<void> {
    this.#pledge = pledge;
    return Promise.resolve();
  }
}
