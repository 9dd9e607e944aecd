import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Stream } from "@libp2p/interface";
import { streamPair } from "@libp2p/utils";
import { RELAY_HELD_BYTES_MAX } from "../limits.ts";
import { peerIdFromString } from "@libp2p/peer-id";
import { routingTableOf } from "./dht_parts.ts";
import { DhtRendezvous } from "./dht_rendezvous.ts";
import { clock, patiently, startNode, startPeer, tensorOf, type TestPeer } from "./fixtures/peers.ts";
import type { Libp2pNode, NodeOptions } from "./libp2p_node.ts";
import type { Reach } from "./reachability.ts";
import { holdBack, RELAY_LIMITS } from "./relay_service.ts";

/** A node, and its ways of being reached as they come. */
function reaches(): { readonly onReach: (reach: Reach) => void; until(wanted: Reach): Promise<void> } {
  let last: Reach | undefined;
  let changed = Promise.withResolvers<void>();
  return {
    onReach: (reach) => {
      last = reach;
      changed.resolve();
      changed = Promise.withResolvers();
    },
    until: (wanted) =>
      patiently(async () => {
        while (last !== wanted) await changed.promise;
      }),
  };
}

/** A peer that listens nowhere but at a relay. */
async function startRelayed(relay: Libp2pNode, options: Partial<NodeOptions> = {}): Promise<TestPeer> {
  const reach = reaches();
  const peer = await startPeer({
    node: {
      listen: [],
      relays: [relay.addresses()[0]],
      serveDht: "whenReachable",
      onReach: reach.onReach,
      ...options,
    },
  });
  await reach.until("relayed");
  return peer;
}

async function startRelay(options: Partial<NodeOptions> = {}): Promise<Libp2pNode & AsyncDisposable> {
  const node = await startNode({ offerRelay: true, ...options });
  return Object.assign(node, { [Symbol.asyncDispose]: () => node.close() });
}

Deno.test("a peer that listens nowhere is reached through a relay, with frames of a megabyte both ways", async () => {
  await using relay = await startRelay();
  await using host = await startRelayed(relay);
  const [address] = host.node.addresses();
  assert.match(address, new RegExp(`/p2p/${relay.peer}/p2p-circuit/p2p/${host.id}$`));
  const paths: string[] = [];
  await using near = await startPeer({ node: { listen: [], onPath: (_peer, path) => paths.push(path) } });
  near.wire.addAddresses(host.id, host.node.addresses());
  const sent = { header: "through", tensors: [tensorOf(1_000_000)] };
  for (let at = 0; at < 8; at++) assert.ok(near.wire.send(host.id, sent));
  for (let at = 0; at < 8; at++) assert.deepEqual((await host.inbox.take("frame")).frame, sent);
  // The way back is the same connection: nobody could dial the one that began.
  host.wire.send(near.id, sent);
  assert.deepEqual((await near.inbox.take("frame")).frame, sent);
  assert.deepEqual(paths, ["relayed"]);
  assert.equal(host.node.libp2p.getConnections(peerIdFromString(near.id)).length, 1);
});

Deno.test("two peers that both listen nowhere meet at their relays", async () => {
  await using relay = await startRelay();
  await using one = await startRelayed(relay);
  await using two = await startRelayed(relay);
  one.wire.addAddresses(two.id, two.node.addresses());
  two.wire.addAddresses(one.id, one.node.addresses());
  one.wire.send(two.id, { header: "there", tensors: [] });
  two.wire.send(one.id, { header: "back", tensors: [] });
  assert.equal((await two.inbox.take("frame")).frame.header, "there");
  assert.equal((await one.inbox.take("frame")).frame.header, "back");
});

Deno.test("a relay cuts a connection that carries more than it allows, and the next frame begins a new one", async () => {
  await using relay = await startRelay({ relayLimits: { ...RELAY_LIMITS, bytes: 1_000_000n } });
  await using host = await startRelayed(relay);
  await using near = await startPeer({ node: { listen: [] } });
  near.wire.addAddresses(host.id, host.node.addresses());
  near.wire.send(host.id, { header: "small", tensors: [tensorOf(100_000)] });
  await host.inbox.take("frame");
  near.wire.send(host.id, { header: "too large", tensors: [tensorOf(2_000_000)] });
  assert.equal((await near.inbox.take("lost")).peer, host.id);
  assert.equal((await host.inbox.take("lost")).peer, near.id);
  near.wire.send(host.id, { header: "again", tensors: [tensorOf(100_000)] });
  assert.equal((await host.inbox.take("frame")).frame.header, "again");
});

Deno.test("a relay that carries for as many as it will refuses the next", async () => {
  await using relay = await startRelay({ relayLimits: { ...RELAY_LIMITS, reservations: 1 } });
  await using _host = await startRelayed(relay);
  assert.equal(relay.libp2p.services.relay.reservations, 1);
  const late = await startNode({ listen: [], relays: [relay.addresses()[0]], serveDht: "whenReachable" });
  await patiently(() => late.libp2p.dial(relay.libp2p.getMultiaddrs()));
  await patiently(() => late.libp2p.services.ping.ping(peerIdFromString(relay.peer)));
  assert.equal(late.reach, "sought");
  assert.equal(relay.libp2p.services.relay.reservations, 1);
  await late.close();
});

Deno.test("a peer goes back to its relay when that comes back", async () => {
  const first = await startNode({ offerRelay: true });
  const identityKept = first.addresses()[0];
  const reach = reaches();
  await using host = await startPeer({
    node: {
      listen: [],
      relays: [identityKept.split("/p2p/")[0]],
      serveDht: "whenReachable",
      onReach: reach.onReach,
    },
  });
  await reach.until("relayed");
  await first.close();
  await reach.until("sought");
  assert.deepEqual(host.node.addresses(), []);
  await using _second = await startRelay({ listen: [identityKept.split("/p2p/")[0]] });
  await reach.until("relayed");
});

Deno.test("a relayed peer holds nobody's records and is in nobody's table, yet can be found", async () => {
  await using relay = await startRelay();
  const bootstrap = [relay.addresses()[0]];
  await using other = await startPeer({ node: { bootstrap, serveDht: "whenReachable" } });
  assert.equal(other.node.libp2p.services.dht.getMode(), "server");
  await using host = await startRelayed(relay);
  assert.equal(host.node.libp2p.services.dht.getMode(), "client");

  const key = new Uint8Array(createHash("sha256").update("stage 0").digest());
  const [theirs, ours] = [other, host].map(({ node }) => new DhtRendezvous(node, clock));
  await eventually(() => ours.provide(key));
  const found = await eventually(() => theirs.providers(key), (found) => found.length > 0);
  assert.deepEqual(found, [host.id]);
  for (const { libp2p } of [relay, other.node]) {
    assert.equal(await routingTableOf(libp2p.services.dht).find(peerIdFromString(host.id)), undefined);
  }
  // Its addresses came with the record: nobody told this wire.
  assert.ok(other.wire.send(host.id, { header: "hello", tensors: [] }));
  assert.equal((await host.inbox.take("frame")).from, other.id);
  await Promise.all([theirs.close(), ours.close()]);
});

Deno.test("to hear of a relayed peer is no reason to connect to it", async () => {
  await using relay = await startRelay();
  await using host = await startRelayed(relay);
  const key = new Uint8Array(createHash("sha256").update("stage 0").digest());
  const provider = new DhtRendezvous(host.node, clock);
  await eventually(() => provider.provide(key));
  await using near = await startPeer({
    node: { listen: [], bootstrap: [relay.addresses()[0]], serveDht: false },
  });
  const seeker = new DhtRendezvous(near.node, clock);
  for (let look = 0; look < 4; look++) {
    await eventually(() => seeker.providers(key), (found) => found.length > 0);
    // What it may set off goes by way of the relay, as this does.
    await near.node.libp2p.services.ping.ping(peerIdFromString(relay.peer));
    await new Promise<void>((resolve) => clock.after(100, resolve));
  }
  assert.equal(near.node.libp2p.getConnections(peerIdFromString(host.id)).length, 0);
  await Promise.all([provider.close(), seeker.close()]);
});

Deno.test("the fast end of a relayed connection waits for the slow one", async () => {
  const [fast, from] = await streamPair();
  const [to] = await streamPair();
  holdBack(from, to);
  const waiting: Uint8Array[] = [];
  from.addEventListener("message", ({ data }) => waiting.push(data.subarray()));
  const chunk = new Uint8Array(RELAY_HELD_BYTES_MAX / 4);
  for (let at = 0; at < 5; at++) await pushThrough(fast, from, chunk);
  assert.equal(from.readStatus, "paused");
  while (waiting.length > 0) to.send(waiting.shift()!);
  assert.equal(from.readStatus, "readable");
});

/** Sends, and waits until all of it has come. */
async function pushThrough(near: Stream, far: Stream, bytes: Uint8Array): Promise<void> {
  let left = bytes.byteLength;
  const { promise, resolve } = Promise.withResolvers<void>();
  const onMessage = ({ data }: { data: { byteLength: number } }) => {
    left -= data.byteLength;
    if (left <= 0) resolve();
  };
  far.addEventListener("message", onMessage);
  near.send(bytes);
  await patiently(() => promise);
  far.removeEventListener("message", onMessage);
}

/** What is known spreads at the network's pace. */
function eventually<T>(work: () => Promise<T>, enough: (result: T) => boolean = () => true): Promise<T> {
  return patiently(async () => {
    while (true) {
      try {
        const result = await work();
        if (enough(result)) return result;
      } catch {
        // Nobody is known yet.
      }
      await new Promise<void>((resolve) => clock.after(50, resolve));
    }
  });
}
