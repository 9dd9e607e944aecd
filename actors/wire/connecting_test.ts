import assert from "node:assert/strict";
import type { Connection, PeerId } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import { multiaddr } from "@multiformats/multiaddr";
import { type Connecting, connectTo } from "./connecting.ts";
import { TestClock } from "./fixtures/peers.ts";
import { createIdentity } from "./identity.ts";

const PUBLIC = multiaddr("/ip4/93.184.216.34/tcp/1");

function connection(remotePeer: PeerId, limited: boolean): Connection {
  return { remotePeer, status: "open", ...limited ? { limits: {} } : {} } as unknown as Connection;
}

/** What connecting needs of a node, as the test has it. */
class Node extends EventTarget {
  open: Connection[] = [];
  dials = 0;

  constructor(readonly dialled: Connection, readonly ours: boolean, readonly theirs: boolean) {
    super();
  }

  dial(): Promise<Connection> {
    this.dials++;
    return Promise.resolve(this.dialled);
  }

  getConnections(): Connection[] {
    return this.open;
  }

  getMultiaddrs() {
    return this.ours ? [PUBLIC] : [];
  }

  readonly peerStore = {
    get: () => Promise.resolve({ addresses: this.theirs ? [{ multiaddr: PUBLIC }] : [] }),
  };
}

const peer = peerIdFromString((await createIdentity()).peer);
const [direct, relayed] = [connection(peer, false), connection(peer, true)];

function connect(node: Node, clock = new TestClock()): Promise<Connection> {
  return connectTo(node as unknown as Connecting, peer, clock, { signal: new AbortController().signal });
}

Deno.test("a direct connection is taken before a relayed one, and an open one before a new one", async () => {
  const node = new Node(direct, true, true);
  node.open = [relayed, direct];
  assert.equal(await connect(node), direct);
  assert.equal(node.dials, 0);
  node.open = [];
  assert.equal(await connect(node), direct);
  assert.equal(node.dials, 1);
});

Deno.test("between two whom nobody can dial the relayed connection is taken at once", async () => {
  const clock = new TestClock();
  const node = new Node(relayed, false, false);
  assert.equal(await connect(node, clock), relayed);
  node.open = [relayed];
  assert.equal(await connect(node, clock), relayed);
  assert.equal(node.dials, 1);
  assert.equal(clock.nextAtMs(), undefined);
});

for (const [ours, theirs] of [[true, false], [false, true]] as const) {
  Deno.test(`where ${ours ? "we" : "they"} can be dialled, the direct connection is waited for`, async () => {
    const clock = new TestClock();
    const node = new Node(relayed, ours, theirs);
    const connected = connect(node, clock);
    while (clock.nextAtMs() === undefined) await Promise.resolve();
    const other = connection(peerIdFromString((await createIdentity()).peer), false);
    for (const detail of [relayed, other, direct]) {
      node.dispatchEvent(new CustomEvent("connection:open", { detail }));
    }
    assert.equal(await connected, direct);
    assert.equal(clock.nextAtMs(), undefined);
  });
}

Deno.test("a direct connection that does not come costs two seconds, and the relayed one is taken", async () => {
  const clock = new TestClock();
  const connected = connect(new Node(relayed, true, false), clock);
  await clock.pass(2_000);
  assert.equal(await connected, relayed);
});
