/**
 * One libp2p node as this network runs it: TCP, noise, yamux, identify, ping,
 * a Kademlia table of our own protocol name, and what makes a way through the
 * routers between strangers: relays, AutoNAT, DCUtR and, if asked, UPnP.
 *
 * It moves no frames (see `libp2p_wire.ts`) and looks nothing up (see
 * `dht_rendezvous.ts`); it only settles the options that both depend on.
 */

import { autoNATv2 } from "@libp2p/autonat-v2";
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { dcutr } from "@libp2p/dcutr";
import { identify } from "@libp2p/identify";
import type { Connection, IdentifyResult, Libp2p, PeerId as Libp2pPeerId } from "@libp2p/interface";
import type { AddressManager } from "@libp2p/interface-internal";
import { type KadDHT, kadDHT, type PeerInfoMapper } from "@libp2p/kad-dht";
import { noise } from "@libp2p/noise";
import { type Ping, ping } from "@libp2p/ping";
import { tcp } from "@libp2p/tcp";
import { uPnPNAT } from "@libp2p/upnp-nat";
import { yamux } from "@libp2p/yamux";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import type { PeerId } from "../core/actor.ts";
import type { Clock } from "../core/clock.ts";
import { RELAY_STREAMS_MAX, RELAYS_MAX, WIRE_PEERS_MAX } from "../limits.ts";
import {
  isPublic,
  isPublicAndDirect,
  isRelayed,
  leadsSomewhere,
  scopeOf,
  worthTelling,
} from "./addresses.ts";
import { keepBootstrapped } from "./bootstrap.ts";
import { isLimited } from "./connecting.ts";
import { dialsNoRelayed, routingTableOf } from "./dht_parts.ts";
import { type RecordRules, recordValidators } from "./dht_records.ts";
import type { Identity } from "./identity.ts";
import { type Reach, watchReachability } from "./reachability.ts";
import { RELAY_LIMITS, type RelayLimits, type RelayService, relayService } from "./relay_service.ts";
import type { SwarmKey } from "./swarm_key.ts";

/** How a node is set up. */
export interface NodeOptions {
  readonly identity: Identity;
  /** Multiaddrs to listen on, `/ip4/0.0.0.0/tcp/4001`; none makes a node that only dials. */
  readonly listen: readonly string[];
  /** Multiaddrs to tell others instead of those listened on (a forwarded port, a public name). */
  readonly announce?: readonly string[];
  /** Multiaddrs of peers that introduce this one to the others. They need not be up yet. */
  readonly bootstrap: readonly string[];
  /** Relays to be reached through. Naming one says that nobody can dial this node. They need not be up yet. */
  readonly relays?: readonly string[];
  /**
   * Whether to hold other peers' records. `whenReachable`: once it is certain that
   * anybody can dial this node, which on a network of one's own it is at once.
   */
  readonly serveDht: boolean | "whenReachable";
  /** Whether to relay for peers that nobody can dial. `whenReachable`: where that is of use, and anybody can dial this node. */
  readonly offerRelay?: boolean | "whenReachable";
  /** What it allows those that it relays for. */
  readonly relayLimits?: RelayLimits;
  /** Whether to ask the router to forward the port. Where there is none that does, nothing happens. */
  readonly upnp?: boolean;
  /** Makes this node one of a private swarm, which talks to no other. */
  readonly swarmKey?: SwarmKey;
  /** Which DHT values to believe; without them none is. */
  readonly records?: RecordRules;
  /** Of retries; libp2p's own timers are the machine's. */
  readonly clock: Clock;
  /** Told when a bootstrap peer could not be reached. */
  readonly onBootstrapFailure?: (address: string, reason: string, failures: number) => void;
  /** Told how others can reach this node: at the start, and when it changes. */
  readonly onReach?: (reach: Reach, node: Pick<Libp2pNode, "addresses" | "seenAt">) => void;
  /** Told when a peer is met through a relay, and when a direct connection has taken the relayed one's place. */
  readonly onPath?: (peer: PeerId, path: "relayed" | "direct") => void;
}

/** The services of our nodes. */
export interface NodeServices extends Record<string, unknown> {
  readonly dht: KadDHT;
  readonly identify: unknown;
  readonly ping: Ping;
  readonly relay: RelayService;
  readonly addressManager: AddressManager;
}

/** A running node. */
export interface Libp2pNode {
  readonly peer: PeerId;
  readonly libp2p: Libp2p<NodeServices>;
  /** Where others can dial this node, each ending in `/p2p/<peer>`. */
  addresses(): string[];
  /** Public address that another has seen this node come from, a router's as a rule: `/ip4/203.0.113.7`. */
  seenAt(): string | undefined;
  /** How others can reach this node. */
  readonly reach: Reach;
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
 * The connection to a node whose machine has stopped is ended after half a minute to a minute; its missing
 * hellos are noticed sooner, by whoever needs to. On machines without time to spare a ping has taken more
 * than ten seconds: less patience cuts all of their connections, again and again, and to make them anew costs
 * the time that is missing. The interval must be the longer: the monitor ends a connection on which two of
 * its pings overlap.
 */
const MONITOR = { pingInterval: 30_000, pingTimeout: { minTimeout: 28_000, maxTimeout: 29_000 } };

/**
 * How long a peer of the table is waited for: a little longer than answers have usually taken of late. Where
 * machines have no time, a lower bound of the longest makes everybody give up everybody: then nobody is
 * found, and what was announced expires.
 */
const ANSWER = { minTimeout: 500, maxTimeout: 5000 };

/** Pings of the monitor and of others at once; the default of one makes them fail each other. */
const PING_STREAMS = { maxInboundStreams: 16, maxOutboundStreams: 16 };

/** Starts with the first relay that it meets. */
const ANY_RELAY = "/p2p-circuit";

/** Longest time that a timer can be set for. */
const FOR_EVER_MS = 2 ** 31 - 1;

/**
 * Starts a node.
 *
 * @throws {TypeError} if an address does not parse.
 * @throws {Error} `Cannot listen on …` if a port is in use or an address is not this machine's.
 */
export async function createNode(options: NodeOptions): Promise<Libp2pNode> {
  const { announce = [], serveDht, offerRelay = false, swarmKey } = options;
  const relays = (options.relays ?? []).map(parseAddress).slice(0, RELAYS_MAX);
  const meetingPoints = [...options.bootstrap.map(parseAddress), ...relays];
  for (const address of [...options.listen, ...announce]) parseAddress(address);
  const { validators, selectors } = recordValidators(options.records);

  const spansRouters = scopeOf(meetingPoints) === "public";
  // Without routers between the peers nothing has to be found out, and nothing is waited for.
  const trusting = announce.length > 0 || (!spansRouters && relays.length === 0);
  const seeksRelay = relays.length > 0 || (!trusting && serveDht === "whenReachable");
  const named = new Set(meetingPoints.map((address) => address.toString()));
  const isVain = (address: Multiaddr) =>
    spansRouters && !named.has(address.toString()) &&
    !leadsSomewhere(address, () => Deno.networkInterfaces());
  const believable: PeerInfoMapper = (peer) => ({
    ...peer,
    multiaddrs: peer.multiaddrs.filter((address) => !isVain(address)),
  });

  const libp2p = await createLibp2p<NodeServices>({
    start: false,
    privateKey: options.identity.privateKey,
    addresses: {
      listen: [
        ...options.listen,
        ...seeksRelay ? new Array<string>(Math.max(1, relays.length)).fill(ANY_RELAY) : [],
      ],
      announce: [...announce],
      announceFilter: (addresses) => trusting ? addresses : worthTelling(addresses),
    },
    transports: [
      tcp(),
      circuitRelayTransport({
        maxInboundStopStreams: RELAY_STREAMS_MAX,
        maxOutboundStopStreams: RELAY_STREAMS_MAX,
      }),
    ],
    ...swarmKey === undefined ? {} : { connectionProtector: swarmKey.protector },
    connectionEncrypters: [noise()],
    connectionGater: { denyDialMultiaddr: isVain },
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
      dht: dialsNoRelayed(kadDHT({
        protocol: DHT_PROTOCOL,
        clientMode: serveDht === "whenReachable" ? !trusting : !serveDht,
        peerInfoMapper: believable,
        initialQuerySelfInterval: 200,
        networkDialTimeout: ANSWER,
        reprovide: PROVIDE,
        validators,
        selectors,
      })),
      autoNAT: autoNATv2(),
      dcutr: dcutr(),
      relay: relayService(options.relayLimits ?? RELAY_LIMITS),
      // The one way to reach it that the library offers.
      addressManager: (components: { readonly addressManager: AddressManager }) => components.addressManager,
      ...options.upnp ? { upnp: uPnPNAT({ portMappingDescription: "murmuration" }) } : {},
    },
  });

  const seenAt = watchOwnAddress(libp2p);
  try {
    await libp2p.start();
  } catch (cause) {
    throw new Error(`Cannot listen on ${options.listen.join(", ")}: ${listenReason(cause)}`, { cause });
  }
  if (serveDht === true) trustOwnAddresses(libp2p);
  await libp2p.services.relay.offer(offerRelay === true);

  const addresses = () => libp2p.getMultiaddrs().map((address) => address.toString());
  let reach: Reach = "sought";
  const stopWatching = watchReachability({
    libp2p,
    clock: options.clock,
    trusting,
    onChange: (now) => {
      reach = now;
      const reachable = now === "direct";
      // The registrar refuses work once the node is stopping.
      const unlessStopping = (error: unknown) => void (libp2p.status === "started" && reportError(error));
      if (serveDht === "whenReachable") {
        libp2p.services.dht.setMode(reachable ? "server" : "client").catch(unlessStopping);
      }
      if (offerRelay === "whenReachable") {
        libp2p.services.relay.offer(reachable && spansRouters).catch(unlessStopping);
      }
      options.onReach?.(now, { addresses, seenAt });
    },
  });
  if (options.onPath) tellPaths(libp2p, options.onPath);
  const stopDialling = keepBootstrapped(
    libp2p,
    meetingPoints,
    options.clock,
    (address, reason, failures) => options.onBootstrapFailure?.(address.toString(), reason, failures),
  );

  return {
    peer: options.identity.peer,
    libp2p,
    get reach() {
      return reach;
    },
    addresses,
    seenAt,
    forget: async (peer, andAddresses) => {
      await routingTableOf(libp2p.services.dht).remove(peer);
      if (andAddresses) await libp2p.peerStore.delete(peer);
    },
    close: async () => {
      stopDialling();
      stopWatching();
      await libp2p.services.relay.offer(false);
      await libp2p.stop();
    },
  };
}

/** A node that introduces others has been said to be reachable, and the first of a swarm has nobody to ask. */
function trustOwnAddresses({ services: { addressManager } }: Libp2p<NodeServices>): void {
  for (const { multiaddr, type, verified } of addressManager.getAddressesWithMetadata()) {
    if (type === "transport" && !verified && isPublic(multiaddr)) {
      addressManager.confirmObservedAddr(multiaddr, { type, ttl: FOR_EVER_MS });
    }
  }
}

/** The library ignores what others see of our connections over TCP: it is no address to dial, for the port is not ours. */
function watchOwnAddress(libp2p: Libp2p<NodeServices>): () => string | undefined {
  let seen: string | undefined;
  libp2p.addEventListener("peer:identify", ({ detail: { observedAddr } }: CustomEvent<IdentifyResult>) => {
    if (observedAddr === undefined || !isPublicAndDirect(observedAddr)) return;
    const [{ name, value }] = observedAddr.getComponents();
    seen = `/${name}/${value}`;
  });
  return () => seen;
}

function tellPaths(
  libp2p: Libp2p<NodeServices>,
  tell: (peer: PeerId, path: "relayed" | "direct") => void,
): void {
  libp2p.addEventListener("connection:open", ({ detail }: CustomEvent<Connection>) => {
    const peer = detail.remotePeer;
    const others = libp2p.getConnections(peer).filter((other) => other.id !== detail.id);
    if (isRelayed(detail.remoteAddr)) tell(peer.toString(), "relayed");
    else if (others.length > 0 && others.every(isLimited)) tell(peer.toString(), "direct");
  });
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
