/**
 * Where peers find each other: the Kademlia table of a libp2p node, behind the
 * four calls that a directory needs. Every call is bounded in time; what a peer
 * provides is said again until it stops.
 *
 * It believes nothing that the node's record rules don't, and it republishes no
 * values: they expire, and whoever signed them puts them again.
 */

import type { QueryEvent } from "@libp2p/kad-dht";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import { create as createDigest } from "multiformats/hashes/digest";
import { sha256 } from "multiformats/hashes/sha2";
import type { PeerId } from "../core/actor.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { PROVIDED_KEYS_MAX, PROVIDERS_FOUND_MAX } from "../limits.ts";
import type { Libp2pNode } from "./libp2p_node.ts";
import { within } from "./time_bound.ts";

/** Length of a key that is provided: a SHA-256. */
const KEY_BYTES = 32;

/** One walk through the table. A peer that doesn't answer costs half a second of it, and 5 s where all are slow. */
const QUERY_MS_MAX = 20_000;

/** Records live 60 s with others, so two renewals in a row may fail. */
const RENEW_MS = 20_000;

/** Renewal after one that reached nobody, as while bootstrap peers are still down. */
const RENEW_AGAIN_MS = 1_000;

/** Equal copies of a value that end the search for it; dead peers would hold it up otherwise. */
const COPIES_ENOUGH = 3;

/** The table of one node. */
export class DhtRendezvous {
  readonly #node: Libp2pNode;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  /** Renewals of what this peer provides, by key in hex. */
  readonly #renewals = new Map<string, Renewal>();

  constructor(node: Libp2pNode, clock: Clock) {
    this.#node = node;
    this.#clock = clock;
  }

  /**
   * Tells the peers nearest to the key that this peer has something under it,
   * and goes on telling them, even if the first time fails.
   *
   * @param key 32 bytes, uniform: a hash.
   * @throws {Error} if nobody could be told yet.
   */
  async provide(key: Uint8Array): Promise<void> {
    const cid = cidOf(key);
    const name = cid.toString();
    await this.#stop(name);
    const renewal: Renewal = { cid, timer: undefined, stopped: false };
    this.#renewals.set(name, renewal);
    for (const [oldest] of this.#renewals) {
      if (this.#renewals.size <= PROVIDED_KEYS_MAX) break;
      await this.#stop(oldest);
    }
    await this.#renew(renewal);
  }

  /** Says it no more. What others hold of it expires within a minute. */
  stopProviding(key: Uint8Array): Promise<void> {
    return this.#stop(cidOf(key).toString());
  }

  /** Peers that provide the key, in the order in which they were found; what was found in time, if time runs out. */
  async providers(key: Uint8Array): Promise<readonly PeerId[]> {
    const cid = cidOf(key);
    const found = new Set<PeerId>();
    await this.#query((signal) => this.#node.libp2p.services.dht.findProviders(cid, { signal }), (event) => {
      if (event.name !== "PROVIDER") return false;
      for (const { id } of event.providers) found.add(id.toString());
      return found.size >= PROVIDERS_FOUND_MAX;
    }).catch(unless(() => found.size > 0));
    return [...found].slice(0, PROVIDERS_FOUND_MAX);
  }

  /**
   * Gives a value to the peers nearest to its key.
   *
   * @throws {Error} if it breaks the node's own rules, or no peer took it.
   */
  async put(key: Uint8Array, value: Uint8Array): Promise<void> {
    const { dht } = this.#node.libp2p.services;
    // The library keeps our own copy without looking at it.
    await dht.validators[namespaceOf(key)]?.(key, value);
    let taken = 0;
    let reason = "no peer is known yet";
    await this.#query((signal) => dht.put(key, value, { signal }), (event) => {
      if (event.name === "PEER_RESPONSE" && event.messageName === "PUT_VALUE") taken++;
      if (event.name === "QUERY_ERROR") reason = event.error.message;
      return false;
    }).catch(unless(() => taken > 0));
    if (taken === 0) throw new Error(`Cannot put ${textOf(key)}: no peer took it: ${reason}`);
  }

  /** The best value that can be found under the key and holds; `undefined` if there is none. */
  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const { dht } = this.#node.libp2p.services;
    const copies = new Map<string, { readonly value: Uint8Array; count: number }>();
    await this.#query((signal) => dht.get(key, { signal }), (event) => {
      const value = valueOf(event);
      if (value === undefined) return false;
      const copy = copies.getOrInsertComputed(value.toHex(), () => ({ value, count: 0 }));
      return ++copy.count >= COPIES_ENOUGH;
    }).catch(unless(() => copies.size > 0));
    const values = [...copies.values()].map((copy) => copy.value);
    if (values.length < 2) return values[0];
    return values[await dht.selectors[namespaceOf(key)]!(key, values)];
  }

  /** Provides nothing any more and gives up what is under way. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the rendezvous was closed"));
    await Promise.all([...this.#renewals.keys()].map((name) => this.#stop(name)));
  }

  async #renew(renewal: Renewal): Promise<void> {
    const { dht } = this.#node.libp2p.services;
    let told = 0;
    try {
      await this.#query((signal) => dht.provide(renewal.cid, { signal }), (event) => {
        if (event.name === "PEER_RESPONSE" && event.messageName === "ADD_PROVIDER") told++;
        return false;
      }).catch(unless(() => told > 0));
      if (told === 0) throw new Error(`Cannot provide ${renewal.cid}: no peer could be told`);
    } finally {
      if (!renewal.stopped) {
        renewal.timer = this.#clock.after(told > 0 ? RENEW_MS : RENEW_AGAIN_MS, () => {
          this.#renew(renewal).catch(() => {
            // Nobody could be told; the next attempt is set already.
          });
        });
      }
    }
  }

  async #stop(name: string): Promise<void> {
    const renewal = this.#renewals.get(name);
    if (renewal === undefined) return;
    this.#renewals.delete(name);
    renewal.stopped = true;
    renewal.timer?.cancel();
    // Otherwise the library goes on renewing it.
    await this.#node.libp2p.services.dht.cancelReprovide(renewal.cid);
  }

  /** Runs a query until it ends, `enough` says so, or time is up. */
  #query(
    start: (signal: AbortSignal) => AsyncIterable<QueryEvent>,
    enough: (event: QueryEvent) => boolean,
  ): Promise<void> {
    return within(this.#clock, QUERY_MS_MAX, async (signal) => {
      for await (const event of start(signal)) {
        if (enough(event)) return;
      }
    }, this.#closing.signal);
  }
}

/** What this peer provides, and when it says so again. */
interface Renewal {
  readonly cid: CID;
  timer: Timer | undefined;
  stopped: boolean;
}

function cidOf(key: Uint8Array): CID {
  if (key.byteLength !== KEY_BYTES) {
    throw new TypeError(`Cannot use key to provide: it has ${key.byteLength} bytes, not ${KEY_BYTES}`);
  }
  return CID.createV1(raw.code, createDigest(sha256.code, key));
}

/** Values in answers of peers have been validated; the last event repeats the best of all, ours included. */
function valueOf(event: QueryEvent): Uint8Array | undefined {
  if (event.name === "VALUE") return event.value;
  return event.name === "PEER_RESPONSE" ? event.record?.value : undefined;
}

function textOf(key: Uint8Array): string {
  return new TextDecoder().decode(key);
}

/** `murmuration-host` of `/murmuration-host/…`. */
function namespaceOf(key: Uint8Array): string {
  return textOf(key).split("/")[1] ?? "";
}

/** Passes over a failure when there is something to show all the same. */
function unless(enough: () => boolean): (error: unknown) => void {
  return (error) => {
    if (!enough()) throw error;
  };
}
