import assert from "node:assert/strict";
import { SeededEntropy } from "../../actors/core/seeded_entropy.ts";
import { Between, type Impairment, UNIMPAIRED } from "./between.ts";

/** What arrives, and when, of packets that are sent at once. */
function arrivals(impairment: Impairment, packets: readonly [from: number, to: number, bytes: number][]) {
  const between = new Between(3, impairment, new SeededEntropy(1));
  for (const [from, to, bytes] of packets) between.send(0, from, to, new Uint8Array(bytes));
  const found: { to: number; atMs: number }[] = [];
  while (between.dueMs < Infinity) {
    const atMs = between.dueMs;
    between.deliver(atMs, (to) => found.push({ to, atMs }));
  }
  return found;
}

Deno.test("a packet passes its sender's line, the distance, and its receiver's line", () => {
  const impairment = { delayMs: 50, bitsPerSecond: 100e6, lossShare: 0 };
  assert.deepEqual(arrivals(impairment, [[0, 1, 1250]]), [{ to: 1, atMs: 50.2 }]);
  // Two that meet at one receiver share its line.
  const met = arrivals(impairment, [[0, 2, 1250], [1, 2, 1250]]);
  assert.deepEqual(met.map(({ to }) => to), [2, 2]);
  assert.ok(Math.abs(met[1].atMs - 50.3) < 1e-9, `${met[1].atMs}`);
});

Deno.test("without impairment all arrives at once, and in order", () => {
  assert.deepEqual(arrivals(UNIMPAIRED, [[0, 1, 1500], [0, 2, 1500]]), [{ to: 1, atMs: 0 }, {
    to: 2,
    atMs: 0,
  }]);
});

Deno.test("a share of the packets is lost", () => {
  const packets = Array.from({ length: 20_000 }, () => [0, 1, 100] as [number, number, number]);
  const lost = packets.length - arrivals({ ...UNIMPAIRED, lossShare: 0.01 }, packets).length;
  assert.ok(lost > 140 && lost < 260, `${lost} of ${packets.length}`);
});

Deno.test("a cut lets pass what stays on its side, until it heals", () => {
  const between = new Between(3, UNIMPAIRED, new SeededEntropy(1));
  const received: number[] = [];
  const send = () => {
    received.length = 0;
    between.send(0, 0, 1, new Uint8Array(1));
    between.send(0, 0, 2, new Uint8Array(1));
    // Nobody has this address.
    between.send(0, 0, 9, new Uint8Array(1));
    between.deliver(0, (to) => received.push(to));
    return [...received];
  };
  assert.deepEqual(send(), [1, 2]);
  between.cut([0, 0, 1]);
  assert.deepEqual(send(), [1]);
  between.cut([0, 0, 0]);
  assert.deepEqual(send(), [1, 2]);
});
