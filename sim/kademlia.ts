/**
 * A small distributed hash table in one process: nodes with k-buckets, iterative
 * look-ups that ask α nodes at a time, provider records and values on the k
 * nodes nearest to their key (P. Maymounkov and D. Mazières, "Kademlia", IPTPS
 * 2002). It counts the questions that are asked and takes no time; a node that
 * is gone answers nothing and is forgotten by whoever asks it. What lies in it
 * is not judged: that is the directory's business.
 */

import { createHash } from "node:crypto";
import type { Rendezvous } from "../routing/mod.ts";
import type { SharedRendezvous } from "./swarm.ts";

/** Nodes that hold a record, and contacts of one bucket. */
const K = 20;
/** Nodes that are asked at a time. */
const ALPHA = 3;
/** How long a record lives if its peer says nothing more; it is said again after half of that. */
const RECORD_VALIDITY_MS = 60_000;
/** Bits of an identifier that are looked at: two of ten thousand nodes hardly share them. */
const BITS = 64;

/** A point of the space of keys. */
interface Point {
  readonly high: number;
  readonly low: number;
}

interface Node extends Point {
  readonly peer: string;
  /** By the number of leading bits that the contact shares with this node; the longest known first. */
  readonly buckets: Node[][];
  /** By key: peers, and when what they said expires. */
  readonly providers: Map<string, Map<string, number>>;
  readonly values: Map<string, { readonly value: Uint8Array; readonly expiresAtMs: number }>;
  up: boolean;
}

/** What look-ups took, all of them together. */
export interface LookUpCounts {
  readonly lookUps: number;
  /** Questions to nodes, records that were left with them included. */
  readonly messages: number;
  /** Nodes from the asking one to the nearest, each told of by the one before. */
  readonly hops: number;
}

interface Candidate {
  readonly node: Node;
  readonly distance: number;
  readonly hops: number;
  asked: boolean;
}

/** The table that all peers of a simulation share. */
export class KademliaNetwork implements SharedRendezvous {
  readonly #epochMs: () => number;
  readonly #nodes = new Map<string, Node>();
  #counts = { lookUps: 0, messages: 0, hops: 0 };

  /** Empty, on this clock. */
  constructor(epochMs: () => number) {
    this.#epochMs = epochMs;
  }

  /** What look-ups have taken so far. */
  get counts(): LookUpCounts {
    return { ...this.#counts };
  }

  /** Nodes that are up. */
  get size(): number {
    let up = 0;
    for (const node of this.#nodes.values()) if (node.up) up++;
    return up;
  }

  /** The peer's node goes, with all that lies on it. */
  gone(peer: string): void {
    const node = this.#nodes.get(peer);
    if (node !== undefined) node.up = false;
    this.#nodes.delete(peer);
  }

  /** The peer's node joins, and this is how the peer uses it. */
  of(peer: string): Rendezvous {
    this.gone(peer);
    const node = this.#join(peer);
    const provided = new Map<string, { readonly key: Uint8Array; saidAtMs: number }>();
    const provide = (name: string, key: Uint8Array) => {
      const expiresAtMs = this.#epochMs() + RECORD_VALIDITY_MS;
      provided.set(name, { key, saidAtMs: this.#epochMs() });
      for (const near of this.#leaveWith(node, pointOf(key))) {
        under(near.providers, name).set(peer, expiresAtMs);
      }
    };
    return {
      provide: (key) => {
        provide(text(key), key);
        return Promise.resolve();
      },
      stopProviding: (key) => {
        provided.delete(text(key));
        for (const near of this.#leaveWith(node, pointOf(key))) near.providers.get(text(key))?.delete(peer);
        return Promise.resolve();
      },
      providers: (key) => Promise.resolve(this.#providers(node, key)),
      put: (key, value) => {
        const record = { value: value.slice(), expiresAtMs: this.#epochMs() + RECORD_VALIDITY_MS };
        for (const near of this.#leaveWith(node, pointOf(key))) near.values.set(text(key), record);
        for (const [name, { key, saidAtMs }] of provided) {
          if (this.#epochMs() - saidAtMs >= RECORD_VALIDITY_MS / 2) provide(name, key);
        }
        return Promise.resolve();
      },
      get: (key) => Promise.resolve(this.#value(node, key)?.slice()),
    };
  }

  #join(peer: string): Node {
    const node: Node = {
      peer,
      ...pointOf(new TextEncoder().encode(peer)),
      buckets: Array.from({ length: BITS }, () => []),
      providers: new Map(),
      values: new Map(),
      up: true,
    };
    // Any node that is known introduces the newcomer.
    const [door] = this.#nodes.values();
    this.#nodes.set(peer, node);
    if (door !== undefined) {
      this.#meet(node, door);
      this.#walk(node, node);
    }
    return node;
  }

  #providers(from: Node, key: Uint8Array): readonly string[] {
    const name = text(key);
    const nowMs = this.#epochMs();
    const found = new Set<string>();
    this.#walk(from, pointOf(key), (node) => {
      const records = node.providers.get(name);
      for (const [peer, expiresAtMs] of records ?? []) {
        if (expiresAtMs > nowMs) found.add(peer);
        else records!.delete(peer);
      }
      return false;
    });
    return [...found];
  }

  #value(from: Node, key: Uint8Array): Uint8Array | undefined {
    const name = text(key);
    let found: Uint8Array | undefined;
    this.#walk(from, pointOf(key), (node) => {
      const record = node.values.get(name);
      if (record === undefined || record.expiresAtMs <= this.#epochMs()) return false;
      found = record.value;
      return true;
    });
    return found;
  }

  /** The nodes that a record is left with: each is one message more. */
  #leaveWith(from: Node, target: Point): Node[] {
    const nearest = this.#walk(from, target);
    this.#counts.messages += nearest.length;
    return nearest;
  }

  /**
   * Asks node after node for those nearer to the target, until none is left.
   *
   * @param look is shown each node that answers; `true` ends the walk.
   * @returns the nearest nodes that answered; the asking node's own records count as well.
   */
  #walk(from: Node, target: Point, look: (node: Node) => boolean = () => false): Node[] {
    this.#counts.lookUps++;
    if (look(from)) return [];
    const seen = new Set<Node>([from]);
    const candidates: Candidate[] = [];
    const learn = (node: Node, hops: number) => {
      if (seen.has(node)) return;
      seen.add(node);
      candidates.push({ node, distance: distance(node, target), hops, asked: false });
    };
    for (const node of nearestKnown(from, target)) learn(node, 1);
    let ended = false;
    while (!ended) {
      candidates.sort((one, other) => one.distance - other.distance);
      const next = candidates.slice(0, K).filter(({ asked }) => !asked).slice(0, ALPHA);
      if (next.length === 0) break;
      for (const candidate of next) {
        candidate.asked = true;
        this.#counts.messages++;
        if (!candidate.node.up) {
          forget(from, candidate.node);
          candidates.splice(candidates.indexOf(candidate), 1);
          continue;
        }
        this.#meet(from, candidate.node);
        ended ||= look(candidate.node);
        for (const node of nearestKnown(candidate.node, target)) learn(node, candidate.hops + 1);
      }
    }
    const answered = candidates.filter(({ asked }) => asked).slice(0, K);
    this.#counts.hops += answered[0]?.hops ?? 0;
    const nodes = answered.map(({ node }) => node);
    if (nodes.length < K) nodes.push(from);
    return nodes;
  }

  /** Whoever asks and whoever answers know each other. */
  #meet(one: Node, other: Node): void {
    remember(one, other);
    remember(other, one);
  }
}

function remember(node: Node, contact: Node): void {
  const bucket = node.buckets[Math.min(BITS - 1, sharedBits(node, contact))];
  if (bucket.includes(contact)) return;
  if (bucket.length >= K) {
    // The oldest stay as long as they answer: they are the likeliest to stay on.
    const gone = bucket.findIndex(({ up }) => !up);
    if (gone < 0) return;
    bucket.splice(gone, 1);
  }
  bucket.push(contact);
}

function forget(node: Node, contact: Node): void {
  const bucket = node.buckets[Math.min(BITS - 1, sharedBits(node, contact))];
  const index = bucket.indexOf(contact);
  if (index >= 0) bucket.splice(index, 1);
}

/** The contacts of a node that are nearest to a target, itself left out. */
function nearestKnown(node: Node, target: Point): Node[] {
  const shared = Math.min(BITS - 1, sharedBits(node, target));
  // Contacts of this bucket share more bits with the target than all others do; then those that share as many.
  const found = [...node.buckets[shared]];
  if (found.length < K) {
    for (let bits = shared + 1; bits < BITS; bits++) {
      found.push(...node.buckets[bits]);
    }
  }
  for (let bits = shared - 1; bits >= 0 && found.length < K; bits--) found.push(...node.buckets[bits]);
  if (found.length <= K) return found;
  return found.sort((one, other) => distance(one, target) - distance(other, target)).slice(0, K);
}

function pointOf(key: Uint8Array): Point {
  const hash = createHash("sha256").update(key).digest();
  return { high: hash.readUInt32BE(0), low: hash.readUInt32BE(4) };
}

/** Exclusive or, as a number; its last bits are rounded. */
function distance(one: Point, other: Point): number {
  return ((one.high ^ other.high) >>> 0) * 2 ** 32 + ((one.low ^ other.low) >>> 0);
}

function sharedBits(one: Point, other: Point): number {
  const high = Math.clz32(one.high ^ other.high);
  return high < 32 ? high : 32 + Math.clz32(one.low ^ other.low);
}

function under(records: Map<string, Map<string, number>>, key: string): Map<string, number> {
  const found = records.get(key) ?? new Map<string, number>();
  records.set(key, found);
  return found;
}

function text(key: Uint8Array): string {
  return key.toHex();
}
