import assert from "node:assert/strict";
import fc from "fast-check";
import { averager, sliceStart } from "./averager.ts";
import { Simulation } from "./core/simulation.ts";
import type { ActorSystem } from "./core/system.ts";
import { PHASE_TIMEOUT_MS } from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { behaviour } from "./role.ts";

/** What may go wrong with one message between two replicas. */
type Fault = (from: string, to: string, message: Message) => Message | undefined;

/** Replicas with an averager each, and a host that only writes down what it is told. */
class Replicas {
  readonly simulation: Simulation;
  readonly outcomes = new Map<string, Message[]>();
  readonly systems = new Map<string, ActorSystem<Message>>();

  constructor(peers: readonly string[], seed: number, fault: Fault = (_from, _to, message) => message) {
    this.simulation = new Simulation({ seed, costs: { durationMs: () => 1, lane: () => "compute" } });
    const { clock } = this.simulation;
    for (const peer of peers) {
      const system = this.simulation.system<Message>({
        peer,
        transport: (to, actor, message) => {
          const passed = fault(peer, to, message);
          if (passed === undefined) return true;
          // Links differ, so that parts arrive in every order.
          const delayMs = 1 + ((peer.charCodeAt(0) * 31 + to.charCodeAt(0) * 17 + seed) % 7);
          clock.after(delayMs, () => void this.systems.get(to)?.deliver(peer, actor, passed));
          return true;
        },
      });
      this.systems.set(peer, system);
      this.outcomes.set(peer, []);
      system.spawn(averager);
      system.spawn(
        behaviour("host", () => ({ receive: ({ message }) => void this.outcomes.get(peer)!.push(message) })),
      );
    }
  }

  average(vectors: ReadonlyMap<string, Float32Array>, late: readonly string[] = []): void {
    const replicas = [...vectors.keys()].sort();
    for (const [peer, vector] of vectors) {
      const start = () =>
        void this.systems.get(peer)!.tell({ actor: "averager" }, {
          kind: "average",
          term: 1,
          step: 1,
          round: 0,
          replicas,
          vector,
        });
      if (late.includes(peer)) this.simulation.clock.after(50, start);
      else start();
    }
  }

  averaged(peer: string): MessageOf<"averaged"> {
    const [outcome, ...more] = this.outcomes.get(peer)!;
    assert.equal(more.length, 0);
    assert.equal(outcome?.kind, "averaged");
    return outcome as MessageOf<"averaged">;
  }
}

Deno.test("every replica ends with the same bits: the sum in the order of the peers", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 0, max: 1000 }),
      async (count, length, seed) => {
        const peers = ["a", "b", "c", "d", "e"].slice(0, count);
        const replicas = new Replicas(peers, seed);
        const vectors = new Map(
          peers.map((
            peer,
            at,
          ) => [peer, Float32Array.from({ length }, (_, i) => Math.sin(seed + 13 * at + i) * 1e3)]),
        );
        replicas.average(vectors, peers.slice(0, seed % 2));
        await replicas.simulation.run({});
        const expected = new Float32Array(length);
        for (let i = 0; i < length; i++) {
          let sum = vectors.get(peers[0])![i];
          for (const peer of peers.slice(1)) sum = Math.fround(sum + vectors.get(peer)![i]);
          expected[i] = sum;
        }
        const first = replicas.averaged(peers[0]);
        for (const peer of peers) {
          const { vector, hash, squareSum } = replicas.averaged(peer);
          assert.deepEqual(vector, expected);
          assert.equal(hash, first.hash);
          assert.equal(squareSum, first.squareSum);
        }
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("slices cover a vector without gap or overlap", () => {
  fc.assert(fc.property(fc.nat(10_000), fc.integer({ min: 1, max: 64 }), (length, count) => {
    assert.equal(sliceStart(length, 0, count), 0);
    assert.equal(sliceStart(length, count, count), length);
    for (let i = 0; i < count; i++) {
      assert.ok(sliceStart(length, i, count) <= sliceStart(length, i + 1, count));
    }
  }));
});

const FAULTS: [string, Fault, RegExp][] = [
  ["a replica that falls silent", (from, _to, message) => from === "b" ? undefined : message, /silent/],
  [
    "a replica that sends NaN",
    (from, _to, message) =>
      from === "b" && message.kind === "part"
        ? {
          ...message,
          values: { ...message.values, data: new Float32Array(message.values.data.length).fill(NaN) },
        }
        : message,
    /not finite/,
  ],
  [
    "a replica that sends too much",
    (from, _to, message) =>
      from === "b" && message.kind === "part"
        ? {
          ...message,
          values: { ...message.values, data: new Float32Array(message.values.data.length + 1) },
        }
        : message,
    /sent \d+ numbers at 0/,
  ],
  [
    "a replica that lies about the place",
    (from, _to, message) => from === "b" && message.kind === "part" ? { ...message, offset: 1 } : message,
    /expected them at 0/,
  ],
  [
    "a replica that sends another type",
    (from, _to, message) =>
      from === "b" && message.kind === "part"
        ? { ...message, values: { dataType: "i32", shape: [1], data: new Int32Array(1) } }
        : message,
    /sent i32/,
  ],
];

for (const [name, fault, expected] of FAULTS) {
  Deno.test(`${name} fails the round, with a reason, within its time`, async () => {
    const replicas = new Replicas(["a", "b"], 1, fault);
    replicas.average(new Map([["a", new Float32Array(10)], ["b", new Float32Array(10)]]));
    await replicas.simulation.run({ untilMs: PHASE_TIMEOUT_MS + 1000 });
    const [outcome] = replicas.outcomes.get("a")!;
    assert.equal(outcome?.kind, "averageFailed");
    assert.match((outcome as MessageOf<"averageFailed">).reason, expected);
    // The next round, without the fault, succeeds.
    const replicas2 = new Replicas(["a", "b"], 1);
    replicas2.average(new Map([["a", new Float32Array(3).fill(1)], ["b", new Float32Array(3).fill(2)]]));
    await replicas2.simulation.run({});
    assert.deepEqual(replicas2.averaged("a").vector, new Float32Array(3).fill(3));
  });
}

Deno.test("a replica that is lost fails the round at once", async () => {
  const replicas = new Replicas(["a", "b"], 1, (from, _to, message) => from === "b" ? undefined : message);
  replicas.average(new Map([["a", new Float32Array(4)], ["b", new Float32Array(4)]]));
  await replicas.simulation.run({ untilMs: 100 });
  replicas.systems.get("a")!.tell({ actor: "averager" }, { kind: "peerLost", peer: "b", reason: "gone" });
  await replicas.simulation.run({ untilMs: 200 });
  assert.equal(replicas.outcomes.get("a")![0]?.kind, "averageFailed");
});
