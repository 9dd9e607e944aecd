import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { StreamHandler } from "@libp2p/interface";
import type { Registrar } from "@libp2p/interface-internal";
import type { Clock } from "../core/clock.ts";
import type { RecordRules } from "./dht_records.ts";
import { DhtRendezvous } from "./dht_rendezvous.ts";
import { clock, patiently, startNode, startRemotePeer, TestClock } from "./fixtures/peers.ts";
import { DHT_PROTOCOL, type Libp2pNode } from "./libp2p_node.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && new TextDecoder().decode(bytes);
const hash = (text: string): Uint8Array => new Uint8Array(createHash("sha256").update(text).digest());

/** Values are `<sequence> …`; the higher sequence is better, and "bad" is never believed. */
const RULES: RecordRules = {
  namespace: "murmuration-host",
  validate: (_key, value) => {
    if (!/^\d+ /.test(decode(value)!)) throw new TypeError("Cannot take a value without a sequence");
  },
  select: (_key, values) => {
    const sequences = values.map((value) => parseInt(decode(value)!));
    return sequences.indexOf(Math.max(...sequences));
  },
};

interface Member extends AsyncDisposable {
  readonly node: Libp2pNode;
  readonly table: DhtRendezvous;
}

async function join(bootstrap: readonly string[], records = RULES, time: Clock = clock): Promise<Member> {
  const node = await startNode({ bootstrap, records });
  const table = new DhtRendezvous(node, time);
  return {
    node,
    table,
    [Symbol.asyncDispose]: async () => {
      await table.close();
      await node.close();
    },
  };
}

/** Nodes that have heard of each other through the first. */
async function swarm(stack: AsyncDisposableStack, size: number): Promise<Member[]> {
  const members = [stack.use(await join([]))];
  while (members.length < size) members.push(stack.use(await join([members[0].node.addresses()[0]])));
  return members;
}

const isThere = (value: unknown): boolean => value !== undefined;

/** Repeats what may fail while a table is still filling. */
async function eventually<T>(
  attempt: () => Promise<T>,
  good: (result: T) => boolean = () => true,
): Promise<T> {
  return await patiently(async () => {
    while (true) {
      try {
        const result = await attempt();
        if (good(result)) return result;
      } catch {
        // Not yet.
      }
      await new Promise<void>((resolve) => clock.after(20, resolve));
    }
  });
}

Deno.test("five nodes find providers and values through each other", async () => {
  await using stack = new AsyncDisposableStack();
  const members = await swarm(stack, 5);
  const key = hash("stage 0");
  const name = encode(`/murmuration-host/${members[1].node.peer}`);
  await eventually(() => members[1].table.provide(key));
  await eventually(() => members[2].table.provide(key));
  await eventually(() => members[1].table.put(name, encode("7 here I am")));
  for (const { table } of members) {
    const providers = await eventually(() => table.providers(key), (found) => found.length === 2);
    assert.deepEqual([...providers].sort(), [members[1].node.peer, members[2].node.peer].sort());
    assert.equal(decode(await eventually(() => table.get(name), isThere)), "7 here I am");
    assert.deepEqual(await table.providers(hash("stage 1")), []);
    assert.equal(await table.get(encode("/murmuration-host/nobody")), undefined);
  }
  await members[2].table.stopProviding(key);
  assert.deepEqual(
    await members[2].table.providers(key).then((found) => found.includes(members[1].node.peer)),
    true,
  );
});

Deno.test("an older value never replaces a newer one, and an invalid one is taken by nobody", async () => {
  await using stack = new AsyncDisposableStack();
  const members = await swarm(stack, 4);
  const name = encode("/murmuration-host/x");
  await eventually(() => members[1].table.put(name, encode("2 new")));
  for (const { table } of members) {
    assert.equal(decode(await eventually(() => table.get(name), isThere)), "2 new");
  }
  await assert.rejects(members[2].table.put(name, encode("bad")), /without a sequence/);
  // A node that makes no difference between values stores what others would not, and tries to spread it.
  const careless: RecordRules = { ...RULES, validate: () => {}, select: (_key, values) => values.length - 1 };
  const rogue = stack.use(await join([members[0].node.addresses()[0]], careless));
  await eventually(() => rogue.table.providers(hash("warm up")));
  await assert.rejects(rogue.table.put(name, encode("1 old")), /no peer took it/);
  await assert.rejects(rogue.table.put(name, encode("bad")), /no peer took it/);
  for (const { table } of members) assert.equal(decode(await table.get(name)), "2 new");
  await members[3].table.put(name, encode("3 newer"));
  for (const { table } of members) assert.equal(decode(await table.get(name)), "3 newer");
});

Deno.test("processes find each other through one bootstrap peer", async () => {
  await using stack = new AsyncDisposableStack();
  const first = stack.use(await startRemotePeer());
  const others = await Promise.all([1, 2, 3].map(() => startRemotePeer([first.addresses[0]])));
  for (const other of others) stack.use(other);
  const [one, two] = [
    stack.use(await join([first.addresses[0]])),
    stack.use(await join([first.addresses[0]])),
  ];
  const key = hash("stage 0");
  await eventually(() => one.table.provide(key));
  assert.deepEqual(await eventually(() => two.table.providers(key), (found) => found.length > 0), [
    one.node.peer,
  ]);
  // Half of the swarm dies; what is left still knows.
  first.signal("SIGKILL");
  others[0].signal("SIGKILL");
  assert.deepEqual(await eventually(() => two.table.providers(key), (found) => found.length > 0), [
    one.node.peer,
  ]);
});

/** Lets the table of a node answer later: its machine has no time. */
async function slowDown({ libp2p }: Libp2pNode, byMs: number): Promise<void> {
  // The library keeps handlers to itself.
  const { components: { registrar } } = libp2p as unknown as { components: { registrar: Registrar } };
  const { handler, options } = registrar.getHandler(DHT_PROTOCOL);
  await libp2p.unhandle(DHT_PROTOCOL);
  const late: StreamHandler = (stream, connection) => {
    // Whoever asked may have given up by then.
    clock.after(byMs, () => Promise.resolve(handler(stream, connection)).catch(() => {}));
  };
  await libp2p.handle(DHT_PROTOCOL, late, options);
}

Deno.test("where all machines are slow they are waited for longer", async () => {
  await using stack = new AsyncDisposableStack();
  const members = await swarm(stack, 3);
  const [one, two] = members;
  await eventually(() => one.table.provide(hash("stage 0")));
  await Promise.all(members.map(({ node }) => slowDown(node, 2000)));
  await eventually(() => one.table.put(encode("/murmuration-host/one"), encode("1 hello")));
  assert.deepEqual(
    await eventually(() => two.table.providers(hash("stage 0")), (found) => found.length > 0),
    [
      one.node.peer,
    ],
  );
  const value = await eventually(() => two.table.get(encode("/murmuration-host/one")), isThere);
  assert.equal(decode(value), "1 hello");
});

Deno.test("a node alone says that nobody could be told, and goes on trying", async () => {
  await using stack = new AsyncDisposableStack();
  const time = new TestClock();
  const alone = stack.use(await join([], RULES, time));
  const put = assert.rejects(alone.table.put(encode("/murmuration-host/x"), encode("1 hello")));
  await time.pass(20_000);
  await put;
  const provided = assert.rejects(alone.table.provide(hash("stage 0")));
  await time.pass(40_000);
  await provided;
  const second = stack.use(await join([alone.node.addresses()[0]]));
  await time.pass(41_000);
  const found = await eventually(() => second.table.providers(hash("stage 0")), (found) => found.length > 0);
  assert.deepEqual(found, [alone.node.peer]);
});

Deno.test("a key that is not a hash is refused", async () => {
  await using stack = new AsyncDisposableStack();
  const { table } = stack.use(await join([]));
  await assert.rejects(table.provide(new Uint8Array(31)), /31 bytes, not 32/);
  await assert.rejects(table.providers(new Uint8Array(33)), /33 bytes, not 32/);
});
