import assert from "node:assert/strict";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { KademliaNetwork } from "./kademlia.ts";

const key = (name: string) => new TextEncoder().encode(name);

function network(size: number) {
  const now = { ms: 0 };
  const table = new KademliaNetwork(() => now.ms);
  const peers = Array.from({ length: size }, (_, index) => table.of(`peer-${index}`));
  return { table, peers, now };
}

Deno.test("what one peer leaves every other finds", async () => {
  const { peers } = network(300);
  for (let provider = 0; provider < 300; provider += 50) await peers[provider].provide(key("service"));
  await peers[7].put(key("record"), Uint8Array.of(1, 2, 3));
  for (let asking = 0; asking < 300; asking += 13) {
    const found = await peers[asking].providers(key("service"));
    assert.deepEqual(found.toSorted(), ["peer-0", "peer-100", "peer-150", "peer-200", "peer-250", "peer-50"]);
    assert.deepEqual(await peers[asking].get(key("record")), Uint8Array.of(1, 2, 3));
    assert.equal(await peers[asking].get(key("nothing")), undefined);
  }
});

Deno.test("a single peer finds what it left itself", async () => {
  const { peers: [alone] } = network(1);
  await alone.provide(key("service"));
  await alone.put(key("record"), Uint8Array.of(9));
  assert.deepEqual(await alone.providers(key("service")), ["peer-0"]);
  assert.deepEqual(await alone.get(key("record")), Uint8Array.of(9));
});

Deno.test("records outlive the death of half of the nodes, and expire unless they are said again", async () => {
  const { table, peers, now } = network(200);
  await peers[0].provide(key("service"));
  await peers[0].put(key("record"), Uint8Array.of(1));
  const chance = new SeededEntropy(1);
  for (let peer = 1; peer < 199; peer++) if (chance.uniform() < 0.5) table.gone(`peer-${peer}`);
  assert.deepEqual(await peers[199].providers(key("service")), ["peer-0"]);
  now.ms = 40_000;
  await peers[0].put(key("record"), Uint8Array.of(2));
  now.ms = 70_000;
  assert.deepEqual(await peers[199].providers(key("service")), ["peer-0"]);
  assert.deepEqual(await peers[199].get(key("record")), Uint8Array.of(2));
  now.ms = 140_000;
  assert.deepEqual(await peers[199].providers(key("service")), []);
  assert.equal(await peers[199].get(key("record")), undefined);
});

Deno.test("who stops providing is found no more", async () => {
  const { peers } = network(50);
  await peers[3].provide(key("service"));
  await peers[3].stopProviding(key("service"));
  assert.deepEqual(await peers[20].providers(key("service")), []);
});

Deno.test("look-ups take hops that grow with the logarithm of the nodes", async () => {
  const hops: number[] = [];
  const messages: number[] = [];
  for (const size of [125, 1000, 8000]) {
    const { table, peers } = network(size);
    const before = table.counts;
    for (let asking = 0; asking < 100; asking++) {
      await peers[(asking * 7919) % size].providers(key(`key ${asking}`));
    }
    const { lookUps, ...after } = table.counts;
    assert.equal(lookUps - before.lookUps, 100);
    hops.push((after.hops - before.hops) / 100);
    messages.push((after.messages - before.messages) / 100);
  }
  // Eight times the nodes are about as many hops more, each time; ten times the messages they are not.
  assert.ok(hops[1] - hops[0] < 2 && hops[2] - hops[1] < 2, `hops ${hops}`);
  assert.ok(messages[2] < 2 * messages[0], `messages ${messages}`);
});
