import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { patiently, startNode, startPeer, tensorOf } from "./fixtures/peers.ts";
import { createSwarmKey, loadSwarmKey, parseSwarmKey, type SwarmKey } from "./swarm_key.ts";

const text = (digits: string): string => `/key/swarm/psk/1.0.0/\n/base16/\n${digits}\n`;
const keyOf = (digit: string): SwarmKey => parseSwarmKey(text(digit.repeat(64)));

Deno.test("a key that was made can be read, is its owner's alone, and is never written over", async () => {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-key-" });
  const path = join(folder, "swarm.key");
  const { fingerprint } = await createSwarmKey(path);
  assert.match(fingerprint, /^[0-9a-f]{8}$/);
  assert.equal((await loadSwarmKey(path)).fingerprint, fingerprint);
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  await assert.rejects(createSwarmKey(path), Deno.errors.AlreadyExists);
  await Deno.writeTextFile(path, "x".repeat(10_000));
  await assert.rejects(loadSwarmKey(path), /it has 10000 bytes, at most 1024/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("one key is one key however its file is written, and another is another", () => {
  const { fingerprint } = keyOf("a");
  assert.equal(parseSwarmKey(text("A".repeat(64))).fingerprint, fingerprint);
  assert.equal(parseSwarmKey(text("a".repeat(64)).replaceAll("\n", "\r\n")).fingerprint, fingerprint);
  assert.equal(parseSwarmKey(text("a".repeat(64)).trimEnd()).fingerprint, fingerprint);
  assert.notEqual(keyOf("b").fingerprint, fingerprint);
});

Deno.test("what is no key is refused by the line that is wrong", () => {
  assert.throws(() => parseSwarmKey("", "k"), /Cannot read swarm key k: its first line/);
  assert.throws(() => parseSwarmKey(text("a".repeat(64)).replace("16", "64")), /its second line/);
  for (const digits of ["", "a".repeat(63), "a".repeat(65), "g".repeat(64)]) {
    assert.throws(() => parseSwarmKey(text(digits)), /its third line/);
  }
  assert.throws(() => parseSwarmKey(`${text("a".repeat(64))}more`), /something follows/);
  fc.assert(fc.property(fc.string(), (garbage) => {
    assert.throws(() => parseSwarmKey(garbage), TypeError);
  }));
});

Deno.test("peers with one key exchange frames of every size", async () => {
  const swarmKey = keyOf("a");
  await using near = await startPeer({ node: { swarmKey } });
  await using far = await startPeer({ node: { swarmKey } });
  near.wire.addAddresses(far.id, far.node.addresses());
  for (const size of [0, 1, 262_065, 16_000_000]) {
    const sent = { header: size, tensors: [tensorOf(size)] };
    near.wire.send(far.id, sent);
    assert.deepEqual((await far.inbox.take("frame")).frame, sent);
  }
});

Deno.test("a peer of another swarm, or of none, is told why it is not let in", async () => {
  await using member = await startPeer({ node: { swarmKey: keyOf("a") } });
  const [address] = member.node.addresses();
  for (const swarmKey of [keyOf("b"), undefined]) {
    const told = Promise.withResolvers<string>();
    const stranger = await startNode({
      ...swarmKey === undefined ? {} : { swarmKey },
      bootstrap: [address],
      onBootstrapFailure: (_address, reason) => told.resolve(reason),
    });
    assert.match(await patiently(() => told.promise), /has it the same swarm key/);
    assert.equal(stranger.libp2p.getConnections().length, 0);
    await stranger.close();
  }
  assert.equal(member.node.libp2p.getConnections().length, 0);
});

Deno.test("a member is told why a peer without a key does not answer", async () => {
  const open = await startNode();
  const told = Promise.withResolvers<string>();
  const member = await startNode({
    swarmKey: keyOf("a"),
    bootstrap: [open.addresses()[0]],
    onBootstrapFailure: (_address, reason) => told.resolve(reason),
  });
  assert.match(await patiently(() => told.promise), /has it the same swarm key/);
  await Promise.all([open.close(), member.close()]);
});

Deno.test("whoever speaks without the key, or says nothing, ends nothing but its own connection", async () => {
  await using near = await startPeer({ node: { swarmKey: keyOf("a") } });
  await using far = await startPeer({ node: { swarmKey: keyOf("a") } });
  const port = Number(far.node.addresses()[0].split("/")[4]);
  const sockets = await Promise.all([0, 1, 24, 4096].map(async (bytes) => {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port });
    if (bytes > 0) await socket.write(new Uint8Array(bytes).fill(0x55));
    return socket;
  }));
  near.wire.addAddresses(far.id, far.node.addresses());
  near.wire.send(far.id, { header: "through the noise", tensors: [] });
  assert.equal((await far.inbox.take("frame")).from, near.id);
  for (const socket of sockets) socket.close();
});

Deno.test("a private swarm has relays of its own, which carry for no stranger", async () => {
  const swarmKey = keyOf("a");
  const relay = await startNode({ swarmKey, offerRelay: true });
  const reached = Promise.withResolvers<void>();
  await using host = await startPeer({
    node: {
      swarmKey,
      listen: [],
      relays: [relay.addresses()[0]],
      serveDht: "whenReachable",
      onReach: (reach) => reach === "relayed" && reached.resolve(),
    },
  });
  await patiently(() => reached.promise);
  await using member = await startPeer({ node: { swarmKey, listen: [] } });
  member.wire.addAddresses(host.id, host.node.addresses());
  const sent = { header: "within", tensors: [tensorOf(300_000)] };
  member.wire.send(host.id, sent);
  assert.deepEqual((await host.inbox.take("frame")).frame, sent);
  await using stranger = await startPeer({ node: { listen: [] } });
  stranger.wire.addAddresses(host.id, host.node.addresses());
  stranger.wire.send(host.id, { header: "without", tensors: [] });
  assert.equal((await stranger.inbox.take("lost")).peer, host.id);
  assert.equal(host.inbox.size, 0);
  await relay.close();
});
