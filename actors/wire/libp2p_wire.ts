/**
 * Frames between machines, over libp2p. Keeps one link per peer and dials when
 * there is something to send.
 *
 * It never retries what was lost: the owner is told, and the next `send` dials
 * afresh. It finds no peers by itself but those that the node's table knows.
 */

import assert from "node:assert/strict";
import type { PeerId as Libp2pPeerId, Stream } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import type { PeerId } from "../core/actor.ts";
import type { Clock } from "../core/clock.ts";
import { PEER_ADDRESSES_MAX, WIRE_ADDRESSED_PEERS_MAX, WIRE_PEERS_MAX } from "../limits.ts";
import { connectTo } from "./connecting.ts";
import type { Libp2pNode } from "./libp2p_node.ts";
import { type Kind, KINDS, Link } from "./link.ts";
import { ReceiveBudget } from "./receive_budget.ts";
import type { Receiver } from "./receiving.ts";
import { within } from "./time_bound.ts";
import { BadFrame, type Frame, type Wire, type WireEvents } from "./wire.ts";

/** The protocol of each stream. */
export const PROTOCOLS: Readonly<Record<Kind, string>> = {
  control: "/murmuration/control/1.0.0",
  bulk: "/murmuration/bulk/1.0.0",
};

/** A peer that has not answered by then is taken for gone. */
const DIAL_MS_MAX = 10_000;

/** How long closing waits for queued frames to leave. */
const FLUSH_MS_MAX = 1_000;

/** A wire between machines. The node is its owner's, and outlives it. */
export class Libp2pWire implements Wire {
  readonly self: PeerId;
  readonly #node: Libp2pNode;
  readonly #clock: Clock;
  readonly #receiver: Receiver;
  readonly #links = new Map<PeerId, Link>();
  readonly #addresses = new Map<PeerId, readonly Multiaddr[]>();
  #events: WireEvents | undefined;
  #closed = false;

  /** @param budget of memory for frames that are half here. */
  constructor(node: Libp2pNode, clock: Clock, budget = new ReceiveBudget()) {
    this.self = node.peer;
    this.#node = node;
    this.#clock = clock;
    this.#receiver = { clock, budget };
  }

  open(events: WireEvents): void {
    assert(this.#events === undefined && !this.#closed, "a wire is opened once");
    this.#events = events;
    for (const kind of KINDS) {
      // A peer that begins anew may open its streams before we have seen the old ones close.
      const limits = { maxInboundStreams: 2, maxOutboundStreams: 2, runOnLimitedConnection: true };
      this.#node.libp2p.handle(
        PROTOCOLS[kind],
        (stream, connection) => this.#accept(kind, stream, connection.remotePeer.toString()),
        limits,
      ).catch(reportError);
    }
  }

  send(to: PeerId, frame: Frame): boolean {
    assert(to !== this.self, "a frame to oneself never reaches the wire");
    if (this.#events === undefined || this.#closed) return false;
    const link = this.#links.get(to) ?? this.#newLink(to);
    return link !== undefined && link.send(frame);
  }

  /**
   * Where a peer says that it can be reached, for the next dial; replaces what it
   * said before. Addresses that do not parse, or lead to another peer, are left out.
   */
  addAddresses(peer: PeerId, addresses: readonly string[]): void {
    const usable = addresses.slice(0, PEER_ADDRESSES_MAX).flatMap((address) => addressOf(peer, address));
    this.#addresses.delete(peer);
    if (usable.length > 0) this.#addresses.set(peer, usable);
    for (const oldest of this.#addresses.keys()) {
      if (this.#addresses.size <= WIRE_ADDRESSED_PEERS_MAX) break;
      this.#addresses.delete(oldest);
    }
  }

  /** Stops taking and delivering frames; what is queued gets a second to leave. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const links = [...this.#links.values()];
    await within(this.#clock, FLUSH_MS_MAX, () => Promise.all(links.map((link) => link.flush()))).catch(
      () => {
        // What has not left by now is dropped, as it would be if this machine had died.
      },
    );
    for (const link of links) link.end("this wire was closed");
    this.#links.clear();
    await this.#node.libp2p.unhandle(Object.values(PROTOCOLS));
  }

  #newLink(peer: PeerId): Link | undefined {
    if (this.#links.size >= WIRE_PEERS_MAX) return undefined;
    const link: Link = new Link({
      peer,
      receiver: this.#receiver,
      dial: (kind, signal) => this.#dial(peer, kind, signal),
      deliver: (frame) => this.#deliver(link, frame),
      lost: (reason) => this.#lose(link, reason),
    });
    this.#links.set(peer, link);
    return link;
  }

  #accept(kind: Kind, stream: Stream, peer: PeerId): void {
    if (this.#closed) return stream.abort(new Error("this wire was closed"));
    const known = this.#links.get(peer);
    if (known?.hears(kind)) {
      const reason = "the peer began anew";
      known.end(reason);
      this.#lose(known, reason);
    }
    const link = this.#links.get(peer) ?? this.#newLink(peer);
    if (link === undefined) {
      return stream.abort(new Error(`Cannot link with ${peer}: this wire holds ${WIRE_PEERS_MAX}`));
    }
    link.accept(kind, stream);
  }

  #deliver(link: Link, frame: Frame): void {
    if (this.#closed) return;
    try {
      this.#events!.onFrame(link.peer, frame);
    } catch (error) {
      // A bad frame is the peer's doing and ends its link; anything else is our own bug, and is not hidden.
      if (!(error instanceof BadFrame)) reportError(error);
      throw error;
    }
  }

  #lose(link: Link, reason: string): void {
    if (this.#closed) return;
    this.#links.delete(link.peer);
    this.#forgetIfGone(link.peer);
    this.#events!.onLost(link.peer, reason);
  }

  /** The routing table never drops the dead by itself; whoever can't be dialled also loses its addresses. */
  #forgetIfGone(peer: PeerId, undialled = false): void {
    const id = idOf(peer);
    if (id === undefined) return;
    const connections = this.#node.libp2p.getConnections(id);
    if (connections.some((connection) => connection.status === "open")) return;
    this.#node.forget(id, undialled).catch((error) => {
      // The stores refuse work once the node is stopping; until then a refusal is a bug.
      if (this.#node.libp2p.status === "started") reportError(error);
    });
  }

  async #dial(peer: PeerId, kind: Kind, gone: AbortSignal): Promise<Stream> {
    const { libp2p } = this.#node;
    try {
      const id = peerIdFromString(peer);
      return await within(this.#clock, DIAL_MS_MAX, async (signal) => {
        const addresses = this.#addresses.get(peer);
        if (addresses !== undefined) {
          await libp2p.peerStore.merge(id, { multiaddrs: [...addresses] }, { signal });
        }
        const connection = await connectTo(libp2p, id, this.#clock, { signal });
        return await connection.newStream(PROTOCOLS[kind], { signal, runOnLimitedConnection: true });
      }, gone);
    } catch (error) {
      if (!gone.aborted) this.#forgetIfGone(peer, true);
      throw error;
    }
  }
}

function idOf(peer: PeerId): Libp2pPeerId | undefined {
  try {
    return peerIdFromString(peer);
  } catch {
    return undefined;
  }
}

/** The address as one of this peer; nothing if it can't be. */
function addressOf(peer: PeerId, text: string): Multiaddr[] {
  try {
    const address = multiaddr(text);
    const named = address.getComponents().findLast((component) => component.name === "p2p")?.value;
    return named === undefined || named === peer ? [address] : [];
  } catch {
    return [];
  }
}
