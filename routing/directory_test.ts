import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { signAnnouncement, type Signer } from "./announcement.ts";
import { type Admits, Directory, recordKey, type Rendezvous, type Saying, serviceKey } from "./directory.ts";
import { MemoryRendezvous, PROVIDER_VALIDITY_MS } from "./memory_rendezvous.ts";

const RUN = "ab".repeat(32);
const VALIDITY_MS = 30_000;

function signature(peer: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(peer).update(bytes).digest());
}

function signerOf(peer: string): Signer {
  return { peer, sign: (bytes) => signature(peer, bytes) };
}

function saying(service: string, step = 0): Saying {
  return {
    service,
    step,
    stateHash: null,
    addresses: [],
    device: "reference",
    load: 0,
    trains: true,
    sessionRoom: 0,
    validityMs: VALIDITY_MS,
  };
}

class World {
  nowMs = 1_800_000_000_000;
  readonly rendezvous = new MemoryRendezvous(() => this.nowMs);
  readonly rejected: string[] = [];

  directory(
    peer: string,
    options: { run?: string; rendezvous?: Rendezvous; admits?: Admits } = {},
  ): Directory {
    return new Directory({
      run: options.run ?? RUN,
      rendezvous: options.rendezvous ?? this.rendezvous.of(peer),
      signer: signerOf(peer),
      verify: (peer, bytes, claimed) => signature(peer, bytes).toHex() === claimed.toHex(),
      epochMs: () => this.nowMs,
      admits: options.admits,
      onRejected: (peer, reason) => this.rejected.push(`${peer}: ${reason}`),
    });
  }

  async found(service: string, by = this.directory("reader")): Promise<string[]> {
    return (await by.lookUp(service)).map(({ peer, step }) => `${peer} at ${step}`);
  }
}

Deno.test("who may not offer a service is not found, whatever it signs", async () => {
  const world = new World();
  await world.directory("a").announce(saying("stage:1"));
  await world.directory("b").announce(saying("stage:1"));
  const asked: string[] = [];
  const admits = ({ peer, service }: { peer: string; service: string }) => {
    asked.push(`${peer} ${service}`);
    return Promise.resolve(peer === "b");
  };
  const reader = world.directory("reader", { admits });
  assert.deepEqual(await world.found("stage:1", reader), ["b at 0"]);
  assert.deepEqual(asked, ["a stage:1", "b stage:1"]);
  assert.match(world.rejected[0], /^a: .*may not offer stage:1/);
});

Deno.test("who announces a service is found under it, sorted, until it expires", async () => {
  const world = new World();
  await world.directory("b").announce(saying("stage:1", 4));
  await world.directory("a").announce(saying("stage:1", 5));
  await world.directory("c").announce(saying("stage:2"));
  await world.directory("d").announce(saying("coordinator"));
  await world.directory("e", { run: "cd".repeat(32) }).announce(saying("stage:1"));
  assert.deepEqual(await world.found("stage:1"), ["a at 5", "b at 4"]);
  assert.deepEqual(await world.found("coordinator"), ["d at 0"]);
  assert.deepEqual(await world.found("stage:3"), []);
  world.nowMs += VALIDITY_MS;
  assert.deepEqual(await world.found("stage:1"), []);
  assert.deepEqual(world.rejected.length, 2);
});

Deno.test("announcing again renews, and a later life continues the sequence", async () => {
  const world = new World();
  const reader = world.directory("reader");
  const first = world.directory("a");
  await first.announce(saying("stage:1", 1));
  await first.announce(saying("stage:1", 2));
  const [before] = await reader.lookUp("stage:1");
  world.nowMs += VALIDITY_MS / 4;
  await world.directory("a").announce(saying("stage:1", 3));
  const [young] = await reader.lookUp("stage:1");
  assert.deepEqual(young, before, "what is believed is not asked for again in the first half of its life");
  world.nowMs += VALIDITY_MS / 4;
  const [after] = await reader.lookUp("stage:1");
  assert.equal(after!.step, 3);
  assert.ok(after!.sequence > before!.sequence);
});

Deno.test("who was lost is asked for again at once, until it has said something new", async () => {
  const world = new World();
  const reader = world.directory("reader");
  const found = async () => (await reader.lookUp("stage:1")).flatMap(({ addresses }) => addresses);
  await world.directory("a").announce({ ...saying("stage:1"), addresses: ["/memory/old"] });
  assert.deepEqual(await found(), ["/memory/old"]);
  reader.doubt("a");
  assert.deepEqual(await found(), ["/memory/old"]);
  // It comes back, somewhere else.
  world.nowMs += 1000;
  const later = world.directory("a");
  await later.announce({ ...saying("stage:1"), addresses: ["/memory/new"] });
  assert.deepEqual(await found(), ["/memory/new"]);
  await later.announce({ ...saying("stage:1"), addresses: ["/memory/newer"] });
  assert.deepEqual(await found(), ["/memory/new"], "what it says now is believed for a while");
});

Deno.test("a peer that moves is found where it is, and no more where it was", async () => {
  const world = new World();
  const mover = world.directory("a");
  await mover.announce(saying("stage:1"));
  await mover.announce(saying("stage:2"));
  assert.deepEqual(await world.found("stage:1"), []);
  assert.deepEqual(await world.found("stage:2"), ["a at 0"]);
  assert.deepEqual(await world.rendezvous.of("x").providers(serviceKey(RUN, "stage:1")), []);
  assert.deepEqual(world.rejected, []);
});

Deno.test("lies are not believed, and reported", async () => {
  const world = new World();
  const table = world.rendezvous;
  const provide = (peer: string) => table.of(peer).provide(serviceKey(RUN, "stage:1"));
  await world.directory("honest").announce(saying("stage:1"));
  await provide("nonsense");
  await table.of("nonsense").put(recordKey("nonsense"), new Uint8Array([1, 2, 3]));
  await provide("borrower");
  await table.of("borrower").put(recordKey("borrower"), (await table.of("x").get(recordKey("honest")))!);
  await provide("silent");
  assert.deepEqual(await world.found("stage:1"), ["honest at 0"]);
  assert.deepEqual(world.rejected.map((line) => line.split(":")[0]).sort(), ["borrower", "nonsense"]);
  assert.match(world.rejected.join("\n"), /Cannot believe record of borrower: it is of honest/);
});

Deno.test("an older record doesn't come back", async () => {
  const world = new World();
  const reader = world.directory("reader");
  const mover = world.directory("a");
  await mover.announce(saying("stage:1"));
  const old = (await world.rendezvous.of("x").get(recordKey("a")))!;
  await mover.announce(saying("stage:2"));
  // Whoever still lists it under its former service shows the reader that it moved on.
  await world.rendezvous.of("a").provide(serviceKey(RUN, "stage:1"));
  assert.deepEqual(await world.found("stage:1", reader), []);
  await world.rendezvous.of("attacker").put(recordKey("a"), old);
  assert.deepEqual(await world.found("stage:1", reader), []);
  assert.match(world.rejected.join(), /its sequence is \d+, \d+ is known/);
});

Deno.test("one record that can't be had doesn't hide the others", async () => {
  const world = new World();
  await world.directory("a").announce(saying("stage:1"));
  await world.directory("b").announce(saying("stage:1"));
  const table = world.rendezvous.of("reader");
  const rendezvous: Rendezvous = {
    ...table,
    get: (key) =>
      new TextDecoder().decode(key).endsWith("/a") ? Promise.reject(new Error("no answer")) : table.get(key),
  };
  const reader = world.directory("reader", { rendezvous });
  assert.deepEqual(await world.found("stage:1", reader), ["b at 0"]);
  assert.deepEqual(world.rejected, ["a: Cannot get record of a: no answer"]);
});

Deno.test("a rendezvous that fails is its caller's to hear, and announcing can be tried again", async () => {
  const world = new World();
  const table = world.rendezvous.of("a");
  let fails = true;
  const directory = world.directory("a", {
    rendezvous: {
      ...table,
      provide: (key) => fails ? Promise.reject(new Error("alone")) : table.provide(key),
    },
  });
  await assert.rejects(directory.announce(saying("stage:1")), /alone/);
  fails = false;
  await directory.announce(saying("stage:1"));
  assert.deepEqual(await world.found("stage:1"), ["a at 0"]);
});

Deno.test("what a peer provides expires, unless it goes on saying something", async () => {
  let nowMs = 0;
  const rendezvous = new MemoryRendezvous(() => nowMs);
  const [key, other] = [new Uint8Array([1]), new Uint8Array([2])];
  const [a, b] = [rendezvous.of("a"), rendezvous.of("b")];
  await a.provide(key);
  await b.provide(key);
  nowMs = PROVIDER_VALIDITY_MS - 1;
  await a.put(other, new Uint8Array([9]));
  nowMs = PROVIDER_VALIDITY_MS;
  assert.deepEqual(await b.providers(key), ["a"]);
  await a.stopProviding(key);
  assert.deepEqual(await b.providers(key), []);
  assert.deepEqual(await b.get(other), new Uint8Array([9]));
  assert.equal(await b.get(key), undefined);
});

Deno.test("an announcement that nobody could believe is not put", async () => {
  const world = new World();
  await assert.rejects(world.directory("a").announce(saying("stage:one")), TypeError);
  const other: Signer = { peer: "b", sign: () => new Uint8Array() };
  const announcement = {
    run: RUN,
    peer: "a",
    ...saying("stage:1"),
    sequence: 0,
    issuedAtMs: 0,
    expiresAtMs: 1,
  };
  const { validityMs: _validityMs, ...rest } = announcement;
  await assert.rejects(signAnnouncement({ ...rest, addresses: [] }, other), /it is of a, the key of b/);
});
