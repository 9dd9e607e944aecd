/**
 * The parts of the library's hash table that are public in its code and missing
 * from its types. Nothing else may reach for them: what is here may change with
 * the library's next version.
 */

import type { PeerId, PeerInfo } from "@libp2p/interface";
import type { KadDHT } from "@libp2p/kad-dht";
import { isRelayed } from "./addresses.ts";

/** The peers that the table asks. */
interface RoutingTable {
  find(peer: PeerId): Promise<PeerId | undefined>;
  remove(peer: PeerId): Promise<void>;
}

interface Parts {
  readonly routingTable: RoutingTable;
  /** Considers a peer for the routing table, which it dials for. */
  onPeerConnect(peer: PeerInfo): Promise<void>;
}

/** The table of a node's peers. */
export function routingTableOf(dht: KadDHT): RoutingTable {
  return (dht as KadDHT & Parts).routingTable;
}

/**
 * A table that never considers a peer which is only reached through a relay: such
 * peers hold no records, and to find that out it would open a relayed connection
 * to each provider that it hears of, and leave it open.
 */
export function dialsNoRelayed<Components>(
  make: (components: Components) => KadDHT,
): (components: Components) => KadDHT {
  return (components) => {
    const dht = make(components) as KadDHT & Parts;
    const { onPeerConnect } = dht;
    dht.onPeerConnect = (peer) =>
      onPeerConnect.call(dht, {
        ...peer,
        // Without an address to dial it is passed over.
        multiaddrs: peer.multiaddrs.every(isRelayed) ? [] : peer.multiaddrs,
      });
    return dht;
  };
}
