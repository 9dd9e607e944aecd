/**
 * What can be told from an address alone: whether it leads through a relay,
 * whether strangers could dial it, and which of a peer's addresses are worth
 * telling to others. It dials nothing and believes nobody.
 */

import { isPrivate } from "@libp2p/utils";
import type { Multiaddr } from "@multiformats/multiaddr";
import { PEER_ADDRESSES_MAX } from "../limits.ts";

/**
 * Where the peers of a swarm meet: on one machine or a network of their own,
 * where everybody can dial everybody, or on the open internet, where routers
 * stand between them.
 */
export type Scope = "private" | "public";

/** Whether the address leads through a relay. */
export function isRelayed(address: Multiaddr): boolean {
  return address.getComponents().some((component) => component.name === "p2p-circuit");
}

/** Whether strangers could dial the address (its relay, if it leads through one). Names count as public. */
export function isPublic(address: Multiaddr): boolean {
  return address.getComponents().some(({ name, value }) =>
    (name.startsWith("ip") || name.startsWith("dns")) && value !== "localhost"
  ) && !isPrivate(address);
}

/** Whether a stranger could dial this peer at the address without a relay. */
export function isPublicAndDirect(address: Multiaddr): boolean {
  return isPublic(address) && !isRelayed(address);
}

/** A swarm that is met at a public address spans routers; any other is taken for a network of its own. */
export function scopeOf(meetingPoints: readonly Multiaddr[]): Scope {
  return meetingPoints.some(isPublic) ? "public" : "private";
}

/**
 * The addresses to tell others on the open internet, the best first and no more
 * than a wire remembers: public ones; relayed ones while there are none; those
 * of the local network, for the peers behind the same router. Loopback never.
 */
export function worthTelling(addresses: readonly Multiaddr[]): Multiaddr[] {
  const direct = addresses.filter(isPublicAndDirect);
  const relayed = addresses.filter(isRelayed);
  // A relay tells all of its addresses, those of its own network too.
  const publicRelays = relayed.filter(isPublic);
  const relays = publicRelays.length > 0 ? publicRelays : relayed;
  const local = addresses.filter((address) =>
    !isPublic(address) && !isRelayed(address) && !isLoopback(address)
  );
  return [...direct.length > 0 ? direct : relays, ...local].slice(0, PEER_ADDRESSES_MAX);
}

/** A network that this machine has an interface in. */
export interface LocalNetwork {
  readonly address: string;
  readonly netmask: string;
  readonly family: "IPv4" | "IPv6";
}

/**
 * Whether to dial the address at all: a stranger's private address leads nowhere,
 * or to somebody else, unless it is of a network that this machine is in.
 */
export function leadsSomewhere(address: Multiaddr, networks: () => readonly LocalNetwork[]): boolean {
  if (isPublic(address) || isRelayed(address)) return true;
  const host = address.getComponents().find(({ name }) => name === "ip4")?.value;
  // Private addresses of IPv6 carry no prefix length here; link-local ones need a zone, so they can't be dialled.
  if (host === undefined || isLoopback(address)) return false;
  const ip = numberOf(host);
  return networks().some(({ address, netmask, family }) => {
    if (family !== "IPv4") return false;
    const mask = numberOf(netmask);
    return (ip & mask) === (numberOf(address) & mask);
  });
}

function isLoopback(address: Multiaddr): boolean {
  const [{ name, value }] = address.getComponents();
  return (name === "ip4" && value !== undefined && value.startsWith("127.")) || value === "::1";
}

/** The 32 bits of a dotted address, signed as bit operations make them. */
function numberOf(dotted: string): number {
  return dotted.split(".").reduce((number, byte) => (number << 8) | Number(byte), 0);
}
