/**
 * One libp2p node as this network runs it: TCP, noise, yamux, identify, ping
 * and a Kademlia table of our own protocol name.
 *
 * It moves no frames (see `libp2p_wire.ts`) and looks nothing up (see
 * `dht_rendezvous.ts`); it only settles the options that both depend on.
 */

import { identify } from "@libp2p/identify";
import type { Libp2p, PeerId as Libp2pPeerId } from "@libp2p/interface";
import { type KadDHT, kadDHT, passthroughMapper, removePrivateAddressesMapper } from "@libp2p/kad-dht";
import { noise } from "@libp2p/noise";
import { type Ping, ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import type { PeerId } from "../core/actor.ts";
import type { Clock } from "../core/clock.ts";
import { WIRE_PEERS_MAX } from "../limits.ts";
import { keepBootstrapped } from "./bootstrap.ts";
import { type RecordRules, recordValidators } from "./dht_records.ts";
import type { Identity } from "./identity.ts";

/** How a node is set up. */
export interface NodeOptions {
  readonly identity: Identity;
  /** Multiaddrs to listen on, `/ip4/0.0.0.0/tcp/4001`; none makes a node that only dials. */
  readonly listen: readonly string[];
  /** Multiaddrs to tell others instead of those listened on (a forwarded port, a public name). */
  readonly announce?: readonly string[];
  /** Multiaddrs of peers that introduce this one to the others. They need not be up yet. */
  readonly bootstrap: readonly string[];
  /** Whether to hold other peers' records. Only for nodes that anybody can dial. */
  readonly serveDht: boolean;
  /**
   * Leaves private and loopback addresses out of the routing table. For the open
   * internet; on a LAN or on one machine it would leave the table empty.
   */
  readonly publicAddressesOnly?: boolean;
  /** Which DHT values to believe; without them none is. */
  readonly records?: RecordRules;
  /** Of retries; libp2p's own timers are the machine's. */
  readonly clock: Clock;
  /** Told when a bootstrap peer could not be reached. */
  readonly onBootstrapFailure?: (address: string, reason: string, failures: number) => void;
}

/** The services of our nodes. */
export interface NodeServices extends Record<string, unknown> {
  readonly dht: KadDHT;
  readonly identify: unknown;
  readonly ping: Ping;
}

/** A running node. */
export interface Libp2pNode {
  readonly peer: PeerId;
  readonly libp2p: Libp2p<NodeServices>;
  /** Where others can dial this node, each ending in `/p2p/<peer>`. */
  addresses(): string[];
  /**
   * Takes a peer that failed out of the routing table: the table itself never
   * drops the dead. `andAddresses` also forgets where it lived.
   */
  forget(peer: Libp2pPeerId, andAddresses: boolean): Promise<void>;
  close(): Promise<void>;
}

export const DHT_PROTOCOL = "/murmuration/kad/1.0.0";

/**
 * A stream's window grows to this by itself where distance calls for it:
 * 16 MB keep 550 MB/s at 10 ms of round trip, 4 MB half of that.
 */
const STREAM_WINDOW_BYTES_MAX = 16 * 1024 * 1024;

/** Provider records others keep for us: as long as they live, and how early we renew them. */
const PROVIDE = { validity: 60_000, interval: 10_000, threshold: 30_000 };

/**
 * A node whose machine has stopped is noticed after ten to twenty seconds; its
 * missing hellos are noticed sooner, by whoever needs to. Less would cut all the
 * connections of a machine that is only busy. The interval must be the longer: the
 * monitor ends a connection on which two of its pings overlap.
 */
const MONITOR = { pingInterval: 10_000, pingTimeout: { minTimeout: 9_000, maxTimeout: 9_500 } };

/** Pings of the monitor and of others at once; the default of one makes them fail each other. */
const PING_STREAMS = { maxInboundStreams: 16, maxOutboundStreams: 16 };

/**
 * Starts a node.
 *
 * @throws {TypeError} if an address does not parse.
 * @throws {Error} `Cannot listen on …` if a port is in use or an address is not this machine's.
 */
export async function createNode(options: NodeOptions): Promise<Libp2pNode> {
  const bootstrap = options.bootstrap.map(parseAddress);
  for (const address of [...options.listen, ...options.announce ?? []]) parseAddress(address);
  const { validators, selectors } = recordValidators(options.records);

  const libp2p = await createLibp2p<NodeServices>({
    start: false,
    privateKey: options.identity.privateKey,
    addresses: { listen: [...options.listen], announce: [...options.announce ?? []] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({
      streamOptions: {
        maxStreamWindowSize: STREAM_WINDOW_BYTES_MAX,
        // A paused stream may still be sent what its window allows; a smaller buffer would reset it.
        maxReadBufferLength: 2 * STREAM_WINDOW_BYTES_MAX,
      },
    })],
    connectionManager: {
      // Each wire peer may hold two connections (both sides dialled at once); the rest is for the DHT.
      maxConnections: 4 * WIRE_PEERS_MAX,
      // The default of 5 a second per address leaves out the nodes of one machine, or of one NAT.
      inboundConnectionThreshold: 1000,
      maxIncomingPendingConnections: 1000,
    },
    connectionMonitor: MONITOR,
    services: {
      identify: identify(),
      ping: ping(PING_STREAMS),
      dht: kadDHT({
        protocol: DHT_PROTOCOL,
        clientMode: !options.serveDht,
        peerInfoMapper: options.publicAddressesOnly ? removePrivateAddressesMapper : passthroughMapper,
        initialQuerySelfInterval: 200,
        networkDialTimeout: { minTimeout: 500, maxTimeout: 1500 },
        reprovide: PROVIDE,
        validators,
        selectors,
      }),
    },
  });

  try {
    await libp2p.start();
  } catch (cause) {
    throw new Error(`Cannot listen on ${options.listen.join(", ")}: ${listenReason(cause)}`, { cause });
  }
  const stopDialling = keepBootstrapped(
    libp2p,
    bootstrap,
    options.clock,
    (address, reason, failures) => options.onBootstrapFailure?.(address.toString(), reason, failures),
  );

  return {
    peer: options.identity.peer,
    libp2p,
    addresses: () => libp2p.getMultiaddrs().map((address) => address.toString()),
    forget: async (peer, andAddresses) => {
      await routingTable(libp2p).remove(peer);
      if (andAddresses) await libp2p.peerStore.delete(peer);
    },
    close: async () => {
      stopDialling();
      await libp2p.stop();
    },
  };
}

/** The routing table's `remove` is public in the library's code but not in its types. */
function routingTable(libp2p: Libp2p<NodeServices>): { remove(peer: Libp2pPeerId): Promise<void> } {
  return (libp2p.services.dht as unknown as { routingTable: { remove(peer: Libp2pPeerId): Promise<void> } })
    .routingTable;
}

function parseAddress(text: string): Multiaddr {
  try {
    return multiaddr(text);
  } catch (cause) {
    throw new TypeError(
      `Cannot read address ${JSON.stringify(text)}: not a multiaddr like /ip4/127.0.0.1/tcp/4001`,
      {
        cause,
      },
    );
  }
}

function listenReason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (/EADDRINUSE|AddrInUse|address.* in use/i.test(text)) return "the port is in use by another process";
  // Deno says EINVAL where Node says EADDRNOTAVAIL.
  if (/EADDRNOTAVAIL|AddrNotAvailable|EINVAL/i.test(text)) return "the address is not this machine's";
  if (/EACCES|PermissionDenied|NotCapable|requires net access/i.test(text)) return "not permitted";
  return text.match(/Error: (.*)/)?.[1] ?? text;
}
