import assert from "node:assert/strict";
import { peerIdFromString } from "@libp2p/peer-id";
import { multiaddr } from "@multiformats/multiaddr";
import type { Stream } from "@libp2p/interface";
import { FRAME_ARRIVAL_MS_MAX, FRAME_HEADER_BYTES_MAX, SEND_QUEUE_BYTES_MAX } from "../limits.ts";
import { encodeFrame } from "./codec.ts";
import {
  patiently,
  startNode,
  startPair,
  startPeer,
  startRemotePeer,
  tensorOf,
  TestClock,
  type TestPeer,
} from "./fixtures/peers.ts";
import { createIdentity } from "./identity.ts";
import { PROTOCOLS } from "./libp2p_wire.ts";
import type { Kind } from "./link.ts";
import { ReceiveBudget } from "./receive_budget.ts";
import type { Frame, WireTensor } from "./wire.ts";

const SIZES = [0, 1, 1000, 262_064, 262_065, 1_000_000, 16_000_000];

function frameOf(header: unknown, ...tensors: WireTensor[]): Frame {
  return { header, tensors };
}

Deno.test("frames of every size arrive as they were sent, and back", async () => {
  const [near, far] = await startPair();
  await using _near = near;
  await using _far = far;
  for (const size of SIZES) {
    const sent = frameOf({ size, text: "héllo", list: [1, -2.5, null] }, tensorOf(size), tensorOf(7, 3));
    assert.equal(near.wire.send(far.id, sent), true);
    const there = await far.inbox.take("frame");
    assert.equal(there.from, near.id);
    assert.deepEqual(there.frame, sent);
    far.wire.send(near.id, there.frame);
    assert.deepEqual((await near.inbox.take("frame")).frame, sent);
  }
});

Deno.test("frames between processes arrive as they were sent", async () => {
  await using near = await startPeer();
  await using remote = await startRemotePeer();
  near.wire.addAddresses(remote.id, remote.addresses);
  for (const size of SIZES) {
    const sent = frameOf({ size }, tensorOf(size));
    near.wire.send(remote.id, sent);
    const back = await near.inbox.take("frame");
    assert.equal(back.from, remote.id);
    assert.deepEqual(back.frame, sent);
  }
});

Deno.test("hundreds of frames in flight stay in order on each of the two streams", async () => {
  const [near, far] = await startPair();
  await using _near = near;
  await using _far = far;
  const count = 300;
  for (let at = 0; at < count; at++) {
    assert.ok(near.wire.send(far.id, frameOf({ control: at })));
    assert.ok(near.wire.send(far.id, frameOf({ bulk: at }, tensorOf(at * 401, at))));
  }
  const seen = { control: 0, bulk: 0 };
  for (let at = 0; at < 2 * count; at++) {
    const { frame } = await far.inbox.take("frame");
    const header = frame.header as { control: number } | { bulk: number };
    if ("control" in header) assert.equal(header.control, seen.control++);
    else {
      assert.equal(header.bulk, seen.bulk++);
      assert.deepEqual(frame.tensors, [tensorOf(header.bulk * 401, header.bulk)]);
    }
  }
  assert.deepEqual(seen, { control: count, bulk: count });
});

Deno.test("both sides may begin at the same time", async () => {
  const [near, far] = await startPair();
  await using _near = near;
  await using _far = far;
  far.wire.addAddresses(near.id, near.node.addresses());
  for (const [from, to] of [[near, far], [far, near]] as const) from.wire.send(to.id, frameOf(from.id));
  assert.equal((await far.inbox.take("frame")).frame.header, near.id);
  assert.equal((await near.inbox.take("frame")).frame.header, far.id);
});

Deno.test("a peer killed in the middle of a frame is lost, and its successor is heard", async () => {
  await using near = await startPeer();
  await using remote = await startRemotePeer();
  near.wire.addAddresses(remote.id, remote.addresses);
  near.wire.send(remote.id, frameOf("hello"));
  await near.inbox.take("frame");
  for (let at = 0; at < 8; at++) near.wire.send(remote.id, frameOf(at, tensorOf(16_000_000)));
  remote.signal("SIGKILL");
  const lost = await near.inbox.take("lost");
  assert.equal(lost.peer, remote.id);
  await using successor = await startRemotePeer();
  near.wire.addAddresses(successor.id, successor.addresses);
  near.wire.send(successor.id, frameOf("hello"));
  assert.equal((await near.inbox.take("frame")).from, successor.id);
  assert.equal(near.inbox.size, 0, "a loss is told once");
});

Deno.test("a peer that isn't there is lost", async () => {
  await using near = await startPeer();
  const nobody = (await createIdentity()).peer;
  near.wire.addAddresses(nobody, ["/ip4/127.0.0.1/tcp/1"]);
  assert.equal(near.wire.send(nobody, frameOf(1)), true);
  assert.equal((await near.inbox.take("lost")).peer, nobody);
  assert.equal(near.wire.send("nonsense", frameOf(1)), true);
  assert.equal((await near.inbox.take("lost")).peer, "nonsense");
});

Deno.test("a peer of whom nobody knows anything is lost when its time is up", async () => {
  const time = new TestClock();
  await using near = await startPeer({ clock: time });
  const stranger = (await createIdentity()).peer;
  near.wire.send(stranger, frameOf(1));
  await time.pass(10_000);
  assert.equal((await near.inbox.take("lost")).reason, "no answer within 10000 ms");
});

Deno.test("a node without a wire is lost", async () => {
  await using near = await startPeer();
  const deaf = await startNode();
  near.wire.addAddresses(deaf.peer, deaf.addresses());
  near.wire.send(deaf.peer, frameOf(1));
  assert.equal((await near.inbox.take("lost")).peer, deaf.peer);
  await deaf.close();
});

Deno.test("a peer that closes its wire first lets its frames leave, then is lost", async () => {
  const [near, far] = await startPair();
  await using _far = far;
  for (let at = 0; at < 20; at++) near.wire.send(far.id, frameOf(at, tensorOf(100_000)));
  await near.wire.close();
  assert.equal(near.wire.send(far.id, frameOf("late")), false);
  for (let at = 0; at < 20; at++) assert.equal((await far.inbox.take("frame")).frame.header, at);
  assert.equal((await far.inbox.take("lost")).peer, near.id);
  await near.node.close();
});

/** A peer without manners: writes whatever bytes it likes on a raw stream. */
async function attack(victim: TestPeer, kind: Kind, write: (stream: Stream) => void): Promise<string> {
  const attacker = await startNode({ serveDht: false });
  try {
    const stream = await attacker.libp2p.dialProtocol(multiaddr(victim.node.addresses()[0]), PROTOCOLS[kind]);
    const ended = Promise.withResolvers<void>();
    stream.addEventListener("close", () => ended.resolve());
    write(stream);
    const lost = await victim.inbox.take("lost");
    assert.equal(lost.peer, attacker.peer);
    await patiently(() => ended.promise);
    // The connection outlives the stream: a well-behaved frame still gets through on it.
    assert.equal(attacker.libp2p.getConnections(peerIdFromString(victim.id)).length, 1);
    const again = await attacker.libp2p.dialProtocol(peerIdFromString(victim.id), PROTOCOLS[kind]);
    again.send(joined(frameOf("sorry")));
    assert.equal((await victim.inbox.take("frame")).frame.header, "sorry");
    return lost.reason;
  } finally {
    await attacker.close();
    assert.equal((await victim.inbox.take("lost")).peer, attacker.peer);
  }
}

function joined(frame: Frame): Uint8Array<ArrayBuffer> {
  const pieces = encodeFrame(frame);
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}

for (const kind of ["control", "bulk"] as const) {
  Deno.test(`hostile bytes end the ${kind} stream with a reason, and nothing else`, async () => {
    await using victim = await startPeer();
    assert.match(
      await attack(victim, kind, (stream) => stream.send(new Uint8Array(1000).fill(0xff))),
      /MURM/,
    );

    const oversized = joined(frameOf(1));
    new DataView(oversized.buffer).setUint32(8, FRAME_HEADER_BYTES_MAX + 1, true);
    assert.match(await attack(victim, kind, (stream) => stream.send(oversized)), /header has 262145 bytes/);

    const endless = joined(frameOf(1));
    new DataView(endless.buffer).setUint32(12, 0xffff_ffff, true);
    assert.match(
      await attack(victim, kind, (stream) => stream.send(endless)),
      /payload has 4294967295 bytes/,
    );

    const truncated = joined(frameOf("x".repeat(1000))).subarray(0, 500);
    const reason = await attack(victim, kind, (stream) => {
      stream.send(truncated);
      stream.close();
    });
    assert.match(reason, /ended after/);

    const reset = await attack(victim, kind, (stream) => {
      stream.send(truncated);
      stream.abort(new Error("gone"));
    });
    assert.match(reset, /reset/);

    assert.match(
      await attack(victim, kind, (stream) => stream.send(joined(frameOf("bad")))),
      /its header is bad/,
    );
  });
}

Deno.test("what the owner refuses ends the sender's link, and the next frame begins a new one", async () => {
  const [near, far] = await startPair();
  await using _near = near;
  await using _far = far;
  near.wire.send(far.id, frameOf("bad"));
  assert.match((await far.inbox.take("lost")).reason, /its header is bad/);
  assert.equal((await near.inbox.take("lost")).peer, far.id);
  near.wire.send(far.id, frameOf("good"));
  assert.equal((await far.inbox.take("frame")).frame.header, "good");
});

Deno.test("a peer that reads nothing fills the queue and no more", async () => {
  await using near = await startPeer();
  await using remote = await startRemotePeer();
  near.wire.addAddresses(remote.id, remote.addresses);
  near.wire.send(remote.id, frameOf("hello"));
  await near.inbox.take("frame");
  remote.signal("SIGSTOP");
  const frame = frameOf(1, tensorOf(16_000_000));
  const before = Deno.memoryUsage().rss;
  let accepted = 0;
  while (near.wire.send(remote.id, frame)) accepted++;
  assert.equal(accepted, Math.floor(SEND_QUEUE_BYTES_MAX / 16_000_000));
  // The small stream is not full because the large one is.
  assert.equal(near.wire.send(remote.id, frameOf("small")), true);
  remote.signal("SIGKILL");
  assert.equal((await near.inbox.take("lost")).peer, remote.id);
  const grownBytes = Deno.memoryUsage().rss - before;
  assert.ok(grownBytes < 200_000_000, `the process grew by ${grownBytes} bytes`);
});

Deno.test("a long transfer lets the connection's other streams have their turn", async () => {
  await using near = await startPeer();
  await using remote = await startRemotePeer();
  near.wire.addAddresses(remote.id, remote.addresses);
  const count = 25;
  const frame = frameOf("bulk", tensorOf(16_000_000));
  for (let at = 0; at < count; at++) assert.ok(near.wire.send(remote.id, frame));
  let arrived = 0;
  const all = (async () => {
    while (arrived < count) arrived += (await near.inbox.take("frame")).kind === "frame" ? 1 : 0;
  })();
  // Opened after the bulk stream, so served after it whenever the connection has room: as the monitor's are.
  let pings = 0;
  for (; arrived < count; pings++) await near.node.libp2p.services.ping.ping(peerIdFromString(remote.id));
  await all;
  assert.ok(
    pings > 10,
    `${pings} pings were answered during the transfer; a starved stream manages a handful`,
  );
});

Deno.test("tensors on a control stream are not taken", async () => {
  await using victim = await startPeer();
  const reason = await attack(victim, "control", (stream) => stream.send(joined(frameOf(1, tensorOf(1000)))));
  assert.match(reason, /no place on a control stream/);
});

Deno.test("large frames from many peers share the room there is, and all arrive", async () => {
  const budget = new ReceiveBudget(20_000_000);
  await using far = await startPeer({ budget });
  await using senders = new AsyncDisposableStack();
  const count = 4;
  for (let peer = 0; peer < 3; peer++) {
    const near = senders.use(await startPeer());
    near.wire.addAddresses(far.id, far.node.addresses());
    for (let at = 0; at < count; at++) {
      assert.ok(near.wire.send(far.id, frameOf(at, tensorOf(16_000_000, at))));
    }
  }
  const seen = new Map<string, number>();
  for (let at = 0; at < 3 * count; at++) {
    const { from, frame } = await far.inbox.take("frame");
    assert.ok(budget.bytes <= 20_000_000);
    const next = seen.get(from) ?? 0;
    assert.deepEqual(frame, frameOf(next, tensorOf(16_000_000, next)));
    seen.set(from, next + 1);
  }
  assert.equal(budget.bytes, 0);
});

Deno.test("a large frame that never arrives gives its room back", async () => {
  const time = new TestClock();
  const budget = new ReceiveBudget();
  await using victim = await startPeer({ clock: time, budget });
  const begun = joined(frameOf(1, tensorOf(2_000_000))).subarray(0, 1000);
  const reason = attack(victim, "bulk", (stream) => stream.send(begun));
  await time.pass(FRAME_ARRIVAL_MS_MAX);
  assert.match(await reason, /was not here after/);
  assert.equal(budget.bytes, 0);
});

Deno.test("addresses that lead elsewhere, or nowhere, are left out", async () => {
  const [near, far] = await startPair();
  await using _near = near;
  await using _far = far;
  const other = (await createIdentity()).peer;
  near.wire.addAddresses(far.id, ["rubbish", `/ip4/127.0.0.1/tcp/1/p2p/${other}`, ...far.node.addresses()]);
  near.wire.send(far.id, frameOf("hello"));
  assert.equal((await far.inbox.take("frame")).from, near.id);
});

Deno.test("a frame to oneself is a bug", async () => {
  await using near = await startPeer();
  assert.throws(() => near.wire.send(near.id, frameOf(1)), /never reaches the wire/);
});
