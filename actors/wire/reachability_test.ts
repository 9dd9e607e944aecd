import assert from "node:assert/strict";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { VirtualClock } from "../core/virtual_clock.ts";
import { type Reach, type ReachabilityInit, reachOf, watchReachability } from "./reachability.ts";

const RELAY =
  "/ip4/93.184.216.34/tcp/1/p2p/16Uiu2HAmEc2z44RDoYx6hHxHPHkCaSZotTE47fz3DGqzYrT75oZw/p2p-circuit";
const PUBLIC = "/ip4/93.184.216.35/tcp/1";
const LAN = "/ip4/192.168.1.2/tcp/1";

/** A node whose addresses are what the test says. */
class Addresses extends EventTarget {
  #now: Multiaddr[];

  constructor(...now: string[]) {
    super();
    this.#now = now.map((text) => multiaddr(text));
  }

  getMultiaddrs(): Multiaddr[] {
    return this.#now;
  }

  become(...now: string[]): void {
    this.#now = now.map((text) => multiaddr(text));
    this.dispatchEvent(new Event("transport:listening"));
  }
}

function watch(addresses: Addresses, trusting = false) {
  const clock = new VirtualClock();
  const seen: Reach[] = [];
  const stop = watchReachability({
    libp2p: addresses as unknown as ReachabilityInit["libp2p"],
    clock,
    trusting,
    onChange: (reach) => seen.push(reach),
  });
  return { clock, seen, stop };
}

Deno.test("what is trusted is direct at once; otherwise only a public address that was confirmed", () => {
  const of = (trusting: boolean, ...texts: string[]) =>
    reachOf(texts.map((text) => multiaddr(text)), trusting);
  assert.equal(of(true, LAN), "direct");
  assert.equal(of(false, LAN), "sought");
  assert.equal(of(false, LAN, RELAY), "relayed");
  assert.equal(of(false, LAN, RELAY, PUBLIC), "direct");
  assert.equal(of(true, RELAY), "relayed");
  assert.equal(of(true), "sought");
});

Deno.test("on a network of one's own nothing is waited for", () => {
  const { clock, seen } = watch(new Addresses(LAN), true);
  assert.deepEqual(seen, ["direct"]);
  assert.equal(clock.nextAtMs(), undefined);
});

Deno.test("each change is told once: found a relay, confirmed, lost again", () => {
  const addresses = new Addresses(LAN);
  const { clock, seen, stop } = watch(addresses);
  addresses.become(LAN, RELAY);
  addresses.become(LAN, RELAY);
  assert.equal(clock.nextAtMs(), undefined);
  addresses.become(LAN, PUBLIC);
  addresses.become(LAN);
  assert.deepEqual(seen, ["sought", "relayed", "direct", "sought"]);
  stop();
  addresses.become(PUBLIC);
  assert.equal(seen.length, 4);
  assert.equal(clock.nextAtMs(), undefined);
});

Deno.test("whoever is reached in no way says so after a while, and is glad when it is", () => {
  const addresses = new Addresses(LAN);
  const { clock, seen } = watch(addresses);
  clock.advanceTo(19_999);
  assert.deepEqual(seen, ["sought"]);
  clock.advanceTo(20_000);
  addresses.become(LAN);
  assert.deepEqual(seen, ["sought", "none"]);
  assert.equal(clock.nextAtMs(), undefined);
  addresses.become(RELAY);
  assert.deepEqual(seen, ["sought", "none", "relayed"]);
});
