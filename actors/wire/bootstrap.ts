/**
 * Keeps a node connected to its bootstrap peers: dials each until it answers,
 * and again when it goes. libp2p's own bootstrap module dials once.
 *
 * It is content with one connection per address and never gives up; whether the
 * swarm is reachable without them is not its business.
 */

import type { Connection, Libp2p } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import type { Clock, Timer } from "../core/clock.ts";

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;

/** What a bootstrap keeper needs of libp2p. */
export type Dialler = Pick<Libp2p, "dial">;

/**
 * Starts dialling. A failed dial is tried again after 0.5 s, 1 s, 2 s … at most
 * 30 s; a connection that closes is made again after 0.5 s.
 *
 * @param failed told why a dial failed, and how often in a row it has.
 * @returns stops it; connections stay as they are.
 */
export function keepBootstrapped(
  dialler: Dialler,
  addresses: readonly Multiaddr[],
  clock: Clock,
  failed: (address: Multiaddr, reason: string, failures: number) => void = () => {},
): () => void {
  const stopping = new AbortController();
  const timers = new Map<Multiaddr, Timer>();

  const attempt = (address: Multiaddr, failures: number): void => {
    timers.delete(address);
    dialler.dial(address, { signal: stopping.signal }).then(
      (connection) => whenClosed(connection, () => again(address, 0)),
      (error) => {
        if (stopping.signal.aborted) return;
        failed(address, reasonOf(error), failures + 1);
        again(address, failures + 1);
      },
    );
  };
  const again = (address: Multiaddr, failures: number): void => {
    if (stopping.signal.aborted) return;
    const delayMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.max(0, failures - 1));
    timers.set(address, clock.after(delayMs, () => attempt(address, failures)));
  };

  for (const address of addresses) attempt(address, 0);
  return () => {
    stopping.abort();
    for (const timer of timers.values()) timer.cancel();
    timers.clear();
  };
}

function whenClosed(connection: Connection, then: () => void): void {
  if (connection.status === "open") connection.addEventListener("close", then, { once: true });
  else then();
}

/** Signs of somebody who is there, and does not go on once it has heard what this node says first. */
const HUNG_UP = /ECONNRESET|EPIPE|reset|closed|Encryption|EOF|length|multistream/i;

/** Why a dial failed. Another swarm key shows as nothing but silence, or an end before the beginning. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { name, message } = error;
  if (/time/i.test(name + message)) {
    return `no answer in time (${message}): is it up, is its port open, has it the same swarm key?`;
  }
  return HUNG_UP.test(name + message)
    ? `it hung up (${message || name}): has it the same swarm key?`
    : message || name;
}
