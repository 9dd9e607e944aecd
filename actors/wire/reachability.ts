/**
 * Keeps watch over whether others can reach this node, and how, and tells when
 * that changes. It looks at the addresses that libp2p holds for true (AutoNAT,
 * the router and relays put them there); it makes none of them true itself.
 */

import type { Libp2p } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import type { Clock, Timer } from "../core/clock.ts";
import { isPublicAndDirect, isRelayed } from "./addresses.ts";

/** How others reach a peer; `sought` until that is known, `none` once it took too long. */
export type Reach = "direct" | "relayed" | "sought" | "none";

/** AutoNAT and a relay's answer take a few seconds each. */
const SEEK_MS_MAX = 20_000;

/** Addresses or connections have changed. */
const CHANGES = ["self:peer:update", "transport:listening", "transport:close", "connection:close"] as const;

/** What is watched. */
export interface ReachabilityInit {
  readonly libp2p: Pick<Libp2p, "getMultiaddrs" | "addEventListener" | "removeEventListener">;
  readonly clock: Clock;
  /**
   * Whether the node's own addresses are believed without asking anybody: on a
   * network of one's own, or where a person has said how the node is reached.
   */
  readonly trusting: boolean;
  /** Told of every change, and of how it is at the start. */
  readonly onChange: (reach: Reach) => void;
}

/** How others reach a peer that has these addresses. */
export function reachOf(addresses: readonly Multiaddr[], trusting: boolean): Exclude<Reach, "none"> {
  if (addresses.some(trusting ? (address) => !isRelayed(address) : isPublicAndDirect)) return "direct";
  return addresses.some(isRelayed) ? "relayed" : "sought";
}

/** Starts watching. @returns stops it. */
export function watchReachability(init: ReachabilityInit): () => void {
  const { libp2p, clock, trusting, onChange } = init;
  let reach: Reach | undefined;
  let timer: Timer | undefined;

  const change = (now: Reach): void => {
    if (now === reach) return;
    reach = now;
    onChange(now);
  };
  const look = (): void => {
    const now = reachOf(libp2p.getMultiaddrs(), trusting);
    if (now !== "sought") {
      timer?.cancel();
      timer = undefined;
      return change(now);
    }
    if (reach === "none" || timer !== undefined) return;
    timer = clock.after(SEEK_MS_MAX, () => {
      timer = undefined;
      change("none");
    });
    change("sought");
  };

  for (const name of CHANGES) libp2p.addEventListener(name, look);
  look();
  return () => {
    for (const name of CHANGES) libp2p.removeEventListener(name, look);
    timer?.cancel();
  };
}
