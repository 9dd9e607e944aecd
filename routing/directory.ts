/**
 * Who offers a service now. Peers provide the key of a service and put a signed
 * record under their own name; whoever looks finds the providers, gets their
 * records and believes only those that hold. It knows no distances and chooses
 * nobody.
 */

import { createHash } from "node:crypto";
import {
  type Announcement,
  BadAnnouncement,
  signAnnouncement,
  type Signer,
  type Verify,
  verifyAnnouncement,
} from "./announcement.ts";

/** What a distributed hash table offers. */
export interface Rendezvous {
  /** Tells the world that this peer has something under the key (32 bytes); repeated by the implementation. */
  provide(key: Uint8Array): Promise<void>;
  /** Says it no more. */
  stopProviding(key: Uint8Array): Promise<void>;
  /** Peers that said so, the nearest first, without repeats. */
  providers(key: Uint8Array): Promise<readonly string[]>;
  /** Leaves a value under the key, for others to get. */
  put(key: Uint8Array, value: Uint8Array): Promise<void>;
  /** The best value under the key. */
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
}

/** Providers of one service that are looked at in one lookup. */
export const PROVIDERS_MAX = 256;

/** Peers whose latest sequence a directory remembers. */
const LATEST_MAX = 4 * PROVIDERS_MAX;

/** Key under which the providers of a service are found. */
export function serviceKey(run: string, service: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(`murmuration/${run}/${service}`).digest());
}

/** Name space of the records, for the table's rules. */
export const RECORD_NAMESPACE = "murmuration-host";

/** Key under which a peer's record lies. */
export function recordKey(peer: string): Uint8Array {
  return new TextEncoder().encode(`/${RECORD_NAMESPACE}/${peer}`);
}

/** A rule beyond a record's own: whether its peer may offer the service. The record is signed and holds. */
export type Admits = (announcement: Announcement) => boolean | Promise<boolean>;

/** What a directory is made of. */
export interface DirectoryOptions {
  readonly run: string;
  readonly rendezvous: Rendezvous;
  readonly signer: Signer;
  readonly verify: Verify;
  readonly epochMs: () => number;
  /** Whether a peer may offer what it announces. Default: everybody may. */
  readonly admits?: Admits;
  /** Told of each record that was not believed. */
  readonly onRejected?: (peer: string, reason: string) => void;
}

/** What a peer says; the directory adds name, times and sequence. */
export interface Saying
  extends Omit<Announcement, "run" | "peer" | "sequence" | "issuedAtMs" | "expiresAtMs"> {
  /** How long it may be believed. */
  readonly validityMs: number;
}

/** The directory of one run, as one peer sees it. */
export class Directory {
  readonly #options: DirectoryOptions;
  /** The latest that each peer said: an old record doesn't come back, and a young one is not asked for again. */
  readonly #latest = new Map<string, Announcement>();
  /** Peers that were lost since they spoke last: they may have come back, at another address. */
  readonly #doubted = new Set<string>();
  #sequence = 0;
  #provided: string | undefined;

  /** A directory that has announced nothing yet. */
  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  /**
   * Announces this peer. To be repeated before it expires.
   *
   * @throws {TypeError} if what it says is out of bounds. Whatever else the rendezvous rejects with.
   */
  async announce({ validityMs, addresses, ...saying }: Saying): Promise<void> {
    const { run, rendezvous, signer, epochMs } = this.#options;
    const issuedAtMs = Math.floor(epochMs());
    // Later lives of a peer come later, so the clock keeps sequences rising across restarts.
    this.#sequence = Math.max(this.#sequence + 1, issuedAtMs);
    const bytes = await signAnnouncement({
      run,
      peer: signer.peer,
      ...saying,
      addresses: addresses.slice(0, 16),
      sequence: this.#sequence,
      issuedAtMs,
      expiresAtMs: issuedAtMs + validityMs,
    }, signer);
    await rendezvous.put(recordKey(signer.peer), bytes);
    const former = this.#provided;
    if (former === saying.service) return;
    await rendezvous.provide(serviceKey(run, saying.service));
    this.#provided = saying.service;
    if (former !== undefined) await rendezvous.stopProviding(serviceKey(run, former));
  }

  /** Everybody who offers the service and can be believed, sorted by peer. */
  async lookUp(service: string): Promise<readonly Announcement[]> {
    const { run, rendezvous } = this.#options;
    const providers = await rendezvous.providers(serviceKey(run, service));
    const unique = [...new Set(providers)].slice(0, PROVIDERS_MAX);
    const found = await Promise.all(unique.map((peer) => this.#record(peer, service)));
    return found.filter((it) => it !== undefined).sort((a, b) => a.peer < b.peer ? -1 : 1);
  }

  /** The peer was lost: what it said last is not believed any more without asking, until it says something new. */
  doubt(peer: string): void {
    if (this.#latest.has(peer)) this.#doubted.add(peer);
  }

  async #record(peer: string, service: string): Promise<Announcement | undefined> {
    const { run, rendezvous, verify, epochMs, admits = () => true, onRejected } = this.#options;
    const known = this.#latest.get(peer);
    // To get a record costs walks through the table: one is believed for half of its life before it is asked for again.
    const isYoung = known !== undefined && epochMs() < (known.issuedAtMs + known.expiresAtMs) / 2;
    if (isYoung && known.service === service && !this.#doubted.has(peer)) return known;
    let bytes: Uint8Array | undefined;
    try {
      bytes = await rendezvous.get(recordKey(peer));
    } catch (error) {
      onRejected?.(peer, `Cannot get record of ${peer}: ${error instanceof Error ? error.message : error}`);
    }
    if (bytes === undefined) return undefined;
    try {
      const announcement = await verifyAnnouncement(bytes, epochMs(), verify);
      if (announcement.peer !== peer) {
        throw new BadAnnouncement(`Cannot believe record of ${peer}: it is of ${announcement.peer}`);
      }
      const least = known?.sequence ?? 0;
      if (announcement.sequence < least) {
        throw new BadAnnouncement(
          `Cannot believe record of ${peer}: its sequence is ${announcement.sequence}, ${least} is known`,
        );
      }
      // A peer that moved on is no longer here: not a lie.
      if (announcement.run !== run) return undefined;
      if (!await admits(announcement)) {
        throw new BadAnnouncement(
          `Cannot believe record of ${peer}: it may not offer ${announcement.service}`,
        );
      }
      this.#remember(announcement);
      return announcement.service === service ? announcement : undefined;
    } catch (error) {
      if (!(error instanceof BadAnnouncement)) throw error;
      onRejected?.(peer, error.message);
      return undefined;
    }
  }

  #remember(announcement: Announcement): void {
    const { peer, sequence } = announcement;
    if (sequence !== this.#latest.get(peer)?.sequence) this.#doubted.delete(peer);
    this.#latest.delete(peer);
    this.#latest.set(peer, announcement);
    for (const oldest of this.#latest.keys()) {
      if (this.#latest.size <= LATEST_MAX) break;
      this.#latest.delete(oldest);
      this.#doubted.delete(oldest);
    }
  }
}
