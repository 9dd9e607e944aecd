/**
 * A rendezvous that all peers of one process share, for simulations and tests.
 * Provider records expire as they do in a distributed table; nothing else of a
 * network is imitated here.
 */

import type { Rendezvous } from "./directory.ts";

/** How long a provider record lives if its peer says nothing more. */
export const PROVIDER_VALIDITY_MS = 60_000;

/** What a process shares. */
export class MemoryRendezvous {
  readonly #epochMs: () => number;
  /** By key: when what each peer said expires. */
  readonly #providers = new Map<string, Map<string, number>>();
  readonly #values = new Map<string, Uint8Array>();

  /** Empty, on this clock. */
  constructor(epochMs: () => number) {
    this.#epochMs = epochMs;
  }

  /** The rendezvous as one peer uses it. Whatever it provides is renewed each time that it puts or provides. */
  of(peer: string): Rendezvous {
    const provided = new Set<string>();
    const renew = () => {
      for (const key of provided) this.#under(key).set(peer, this.#epochMs() + PROVIDER_VALIDITY_MS);
    };
    return {
      provide: (key) => {
        provided.add(text(key));
        renew();
        return Promise.resolve();
      },
      stopProviding: (key) => {
        provided.delete(text(key));
        this.#under(text(key)).delete(peer);
        return Promise.resolve();
      },
      providers: (key) => Promise.resolve([...this.#under(text(key)).keys()]),
      put: (key, value) => {
        renew();
        this.#values.set(text(key), value.slice());
        return Promise.resolve();
      },
      get: (key) => Promise.resolve(this.#values.get(text(key))?.slice()),
    };
  }

  #under(key: string): Map<string, number> {
    const providers = this.#providers.get(key) ?? new Map<string, number>();
    this.#providers.set(key, providers);
    for (const [peer, expiresAtMs] of providers) if (expiresAtMs <= this.#epochMs()) providers.delete(peer);
    return providers;
  }
}

function text(key: Uint8Array): string {
  return key.toHex();
}
