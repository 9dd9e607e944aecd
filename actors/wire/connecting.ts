/**
 * A connection to a peer, the best there is: a direct one rather than one through
 * a relay, and one that exists rather than a new one. It doesn't punch holes
 * (libp2p's DCUtR does, as soon as a relayed connection is made), but it gives it
 * a moment where it can work, so that little begins on a connection about to be
 * replaced.
 */

import type { AbortOptions, Connection, Libp2p, PeerId } from "@libp2p/interface";
import type { Clock } from "../core/clock.ts";
import { isPublicAndDirect } from "./addresses.ts";
import { within } from "./time_bound.ts";

/** Two round trips around the world and a handshake; whoever is not through by then goes on over the relay. */
const UPGRADE_MS_MAX = 2_000;

/** What is needed of libp2p. */
export type Connecting = Pick<
  Libp2p,
  "dial" | "getConnections" | "getMultiaddrs" | "peerStore" | "addEventListener" | "removeEventListener"
>;

/** Whether a connection leads through a relay, which limits it. */
export function isLimited(connection: Connection): boolean {
  return connection.limits !== undefined;
}

/**
 * Connects, or finds the connection.
 *
 * @throws {Error} if the peer can't be reached.
 */
export async function connectTo(
  libp2p: Connecting,
  peer: PeerId,
  clock: Clock,
  options: AbortOptions,
): Promise<Connection> {
  const open = libp2p.getConnections(peer).filter(({ status }) => status === "open");
  const direct = open.find((connection) => !isLimited(connection));
  if (direct !== undefined) return direct;
  const connection = open[0] ?? await libp2p.dial(peer, options);
  if (!isLimited(connection) || !await mayBecomeDirect(libp2p, peer)) return connection;
  return await upgraded(libp2p, peer, clock, options).catch(() => connection);
}

/** One of the two must be somebody whom the other can dial: behind two routers, TCP finds no way by itself. */
async function mayBecomeDirect(libp2p: Connecting, peer: PeerId): Promise<boolean> {
  if (libp2p.getMultiaddrs().some(isPublicAndDirect)) return true;
  const known = await libp2p.peerStore.get(peer).catch(() => undefined);
  return known?.addresses.some(({ multiaddr }) => isPublicAndDirect(multiaddr)) ?? false;
}

/** The next direct connection to the peer. Rejects if there is none in time. */
async function upgraded(
  libp2p: Connecting,
  peer: PeerId,
  clock: Clock,
  { signal }: AbortOptions,
): Promise<Connection> {
  const { promise, resolve } = Promise.withResolvers<Connection>();
  const onOpen = ({ detail }: CustomEvent<Connection>) => {
    if (detail.remotePeer.equals(peer) && !isLimited(detail)) resolve(detail);
  };
  libp2p.addEventListener("connection:open", onOpen);
  try {
    return await within(clock, UPGRADE_MS_MAX, () => promise, signal ?? undefined);
  } finally {
    libp2p.removeEventListener("connection:open", onOpen);
  }
}
