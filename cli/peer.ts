/**
 * The parts of a real peer: the machine's clock and chance, a libp2p node, its
 * wire and its table. What the peer does with them is `actors/assemble.ts`'s to say.
 */

import type { PeerParts } from "../actors/assemble.ts";
import type { Failure } from "../actors/core/cell.ts";
import { RealPerformer } from "../actors/core/performer.ts";
import { RealClock } from "../actors/core/real_clock.ts";
import { eventLoopScheduler } from "../actors/core/scheduler.ts";
import { SystemEntropy } from "../actors/core/system_entropy.ts";
import type { TraceSink } from "../actors/core/trace.ts";
import { DhtRendezvous } from "../actors/wire/dht_rendezvous.ts";
import { type Identity, verify } from "../actors/wire/identity.ts";
import { createNode, type Libp2pNode, type NodeOptions } from "../actors/wire/libp2p_node.ts";
import { Libp2pWire } from "../actors/wire/libp2p_wire.ts";
import { type Admits, announcementRules } from "../routing/mod.ts";
import type { Manifest } from "../run/mod.ts";

/** How a node takes part in the network; all else of it is the same for every peer. */
export type NetworkSettings =
  & Pick<NodeOptions, "identity" | "listen" | "bootstrap">
  & Partial<Pick<NodeOptions, "announce" | "relays" | "upnp" | "swarmKey" | "serveDht" | "offerRelay">>
  & Pick<NodeOptions, "onBootstrapFailure" | "onReach" | "onPath">;

/** What a real peer needs to know. */
export interface PeerOptions extends NetworkSettings {
  readonly manifest: Manifest;
  readonly identity: Identity;
  readonly trace?: TraceSink;
  /** Who may offer what. Default: everybody anything. */
  readonly admits?: Admits;
  /** A role crashed for good. */
  readonly escalate: (failure: Failure) => void;
}

/** The parts, and how to give them back. */
export interface OpenPeer {
  readonly parts: PeerParts;
  readonly node: Libp2pNode;
  /** Closes wire, table and node, once the peer has stopped. */
  close(): Promise<void>;
}

/** A node as every peer of this network runs it, with the rules for its table. */
export async function openNode(
  options: NetworkSettings,
): Promise<Libp2pNode> {
  const clock = new RealClock();
  return await createNode({
    serveDht: "whenReachable",
    offerRelay: "whenReachable",
    ...options,
    records: announcementRules({ epochMs: () => clock.epochMs(), verify }),
    clock,
  });
}

/**
 * Opens the parts of a peer.
 *
 * @throws {TypeError} if an address does not parse.
 * @throws {Error} if it can't listen.
 */
export async function openPeer(options: PeerOptions): Promise<OpenPeer> {
  const { identity, manifest } = options;
  const clock = new RealClock();
  const node = await openNode(options);
  const wire = new Libp2pWire(node, clock);
  const rendezvous = new DhtRendezvous(node, clock);
  const performer = new RealPerformer();
  return {
    node,
    parts: {
      manifest,
      clock,
      entropy: new SystemEntropy(),
      performer,
      scheduler: eventLoopScheduler,
      wire,
      rendezvous,
      signer: identity,
      verify,
      addresses: () => node.addresses(),
      learnAddresses: (peer, addresses) => wire.addAddresses(peer, addresses),
      trace: options.trace,
      admits: options.admits,
      escalate: options.escalate,
    },
    async close() {
      // First, for its queries are work that only this cuts short.
      await rendezvous.close();
      await performer.idle();
      await wire.close();
      await node.close();
    },
  };
}
