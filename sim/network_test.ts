import assert from "node:assert/strict";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { Network } from "./network.ts";

const shape = { regions: 5, latencyMsMax: 150, bytesPerSecondMin: 1e6, bytesPerSecondMax: 1e8 };
const peers = Array.from({ length: 100 }, (_, index) => `peer-${index}`);

Deno.test("peers of one region are near each other, and a link is as fast as its slower end", () => {
  const network = new Network(new SeededEntropy(1), shape);
  for (const from of peers) {
    for (const to of peers) {
      const { latencyMs, jitterMs, bytesPerSecond } = network.link(from, to);
      assert.equal(latencyMs, network.link(to, from).latencyMs);
      assert.ok(latencyMs >= 1 && latencyMs <= 150 && jitterMs! < latencyMs);
      if (network.region(from) === network.region(to)) assert.equal(latencyMs, 1);
      assert.ok(bytesPerSecond! >= 1e6 && bytesPerSecond! <= network.link(from, from).bytesPerSecond!);
    }
  }
});

Deno.test("a seed is a map, whoever is asked about first", () => {
  const [one, other] = [new Network(new SeededEntropy(2), shape), new Network(new SeededEntropy(2), shape)];
  peers.toReversed().forEach((peer) => other.region(peer));
  for (const peer of peers) assert.equal(one.region(peer), other.region(peer));
});
