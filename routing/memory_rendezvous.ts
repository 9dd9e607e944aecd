/**
 * A rendezvous that all peers of one process share, for simulations and tests.
 * Provider records expire as they do in a distributed table; nothing else of a
 * network is imitated here.
 */

import type { Rendezvous } from "./directory.ts";

/** How long a provider record lives if its peer says nothing more. */
const PROVIDER_VALIDITY_MS = 60_000;

/** What a process shares. */
export class MemoryRendezvous {
  readonly #epochMs: () => number;
  readonly #providers = new Map<string, Map<string, number>>();
  readonly #values = new Map<string, Uint8Array>();

  constructor(epochMs: () => number) {
    this.#epochMs = epochMs;
  }

  /** The rendezvous as one peer uses it. */
  of(peer: string): Rendezvous {
    const provided = new Set<string>();
    const renew = () => {
      for (const key of provided) this.#of(key).set(peer, this.#epochMs() + PROVIDER_VALIDITY_MS);
    };
    return {
      provide: (key) => {
        provided.add(text(key));
        renew();
        return Promise.resolve();
      },
      providers: (key) => {
        const nowMs = this.#epochMs();
        const alive = [...this.#of(text(key))].filter(([, expiresAtMs]) => expiresAtMs > nowMs);
        return Promise.resolve(alive.map(([provider]) => provider));
      },
      put: (key, value) => {
        renew();
        this.#values.set(text(key), value.slice());
        return Promise.resolve();
      },
      get: (key) => Promise.resolve(this.#values.get(text(key))?.slice()),
    };
  }

  #of(key: string): Map<string, number> {
    let providers = this.#providers.get(key);
    if (providers === undefined) {
      providers = new Map();
      this.#providers.set(key, providers);
    }
    return providers;
  }
}

function text(key: Uint8Array): string {
  return Array.from(key, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
