/**
 * Hosts that are told to leave go when the step is over: nothing has to be
 * computed again, and no state is lost with them that anybody else could have kept.
 */

import assert from "node:assert/strict";
import type { Departure } from "../actors/host/departing.ts";
import { HELLO_PERIOD_MS, LEASE_MS } from "../actors/limits.ts";
import { MemorySnapshots } from "../sim/memory_snapshots.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { assertClose, soloRun } from "./solo.ts";

const manifest = tinyManifest({
  steps: 8,
  microBatchesPerStep: 6,
  model: { ...tinyManifest().model, width: 8, hidden: 8, heads: 1 },
});
const { losses: expected } = await soloRun(manifest);

/** Three stages of so many hosts, `a0`, `b0`, … */
function swarmOf(replicas: number, disks = new Map<string, MemorySnapshots>()): SimulatedSwarm {
  const swarm = new SimulatedSwarm({ manifest, dataset: countingDataset(manifest), seed: 1 });
  for (let stage = 0; stage < 3; stage++) {
    for (const name of ["a", "b", "c"].slice(0, replicas)) {
      const peer = `${name}${stage}`;
      swarm.startHost(peer, stage, disks.get(peer));
    }
  }
  swarm.startTrainer("trainer");
  return swarm;
}

/** Tells hosts to leave. @returns what they left, once they have. */
async function leave(swarm: SimulatedSwarm, ...peers: string[]): Promise<Departure[]> {
  const departures: Departure[] = [];
  for (const peer of peers) void swarm.leave(peer).then((departure) => departures.push(departure));
  await swarm.until(() => departures.length === peers.length);
  return departures;
}

async function pass(swarm: SimulatedSwarm, ms: number): Promise<void> {
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + ms });
}

function replays(swarm: SimulatedSwarm): number[] {
  return swarm.steps().map((step) => step.replays);
}

Deno.test("a host that leaves at any moment of a step costs no replay", async () => {
  for (let stage = 0; stage < 3; stage++) {
    for (let afterMs = 0; afterMs < 300; afterMs += 50) {
      const context = `stage ${stage}, after ${afterMs} ms`;
      const swarm = swarmOf(2);
      await swarm.until(() => swarm.steps().length === 2);
      await pass(swarm, afterMs);
      const during = swarm.steps().length + 1;
      const [{ replicas, step }] = await leave(swarm, `a${stage}`);
      assert.equal(replicas, 1, context);
      assert.ok(step <= during, context);
      assert.equal((await swarm.finish())?.kind, "done", context);
      assert.deepEqual(replays(swarm), replays(swarm).map(() => 0), context);
      assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5, context);
      assert.deepEqual(swarm.steps().at(-1)?.hosts, [2, 2, 2].map((n, at) => at === stage ? n - 1 : n));
      const lost = swarm.events.flatMap((event) => event.kind === "lost" ? [event.reason] : []);
      assert.deepEqual(lost, ["it left in good order"], context);
      await swarm.close();
    }
  }
});

Deno.test("hosts may leave together, and one after the other, as long as each stage keeps one", async () => {
  const swarm = swarmOf(3);
  await swarm.until(() => swarm.steps().length === 1);
  await pass(swarm, 60);
  const departures = await leave(swarm, "a0", "b1", "c2");
  assert.deepEqual(departures.map(({ replicas }) => replicas), [2, 2, 2]);
  await pass(swarm, 150);
  assert.equal((await leave(swarm, "a1"))[0].replicas, 1);
  assert.equal((await swarm.finish())?.kind, "done");
  assert.deepEqual(swarm.steps().at(-1)?.hosts, [2, 1, 2]);
  assert.deepEqual(replays(swarm), replays(swarm).map(() => 0));
  assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5, "losses");
  await swarm.close();
});

Deno.test("the last host of a stage says that nobody else has its state, and brings it back from its disk", async () => {
  const disks = new Map([["a1", new MemorySnapshots()]]);
  const swarm = swarmOf(1, disks);
  await swarm.until(() => swarm.steps().length === 3);
  await pass(swarm, 100);
  const [{ replicas, saved, step }] = await leave(swarm, "a1");
  assert.deepEqual([replicas, saved], [0, true]);
  await pass(swarm, 20_000);
  assert.equal(swarm.end, undefined);
  assert.equal(swarm.steps().at(-1)?.step, step, "the run waits where it left");
  assert.ok(swarm.events.some((event) => event.kind === "waiting" && event.stage === 1));
  swarm.startHost("a1", 1, disks.get("a1"));
  assert.equal((await swarm.finish())?.kind, "done");
  assert.deepEqual(replays(swarm), replays(swarm).map(() => 0));
  assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5, "losses");
  await swarm.close();
});

Deno.test("the last host of a stage waits for one that fetches its state", async () => {
  const swarm = swarmOf(1);
  await swarm.until(() => swarm.steps().length === 3);
  await pass(swarm, 100);
  swarm.startHost("heir", 1);
  const [{ replicas }] = await leave(swarm, "a1");
  assert.equal(replicas, 1);
  assert.equal((await swarm.finish())?.kind, "done");
  assert.deepEqual(replays(swarm), replays(swarm).map(() => 0));
  assertClose(swarm.steps().map(({ loss }) => loss), expected, 1e-5, "losses");
  await swarm.close();
});

Deno.test("a host that nobody needs leaves at once: before the run, after it, and when its trainer has gone", async () => {
  const before = swarmOf(1);
  assert.equal((await leave(before, "a1"))[0].replicas, undefined);
  assert.ok(before.simulation.clock.nowMs() < 1000);
  await before.close();

  const after = swarmOf(1);
  await after.finish();
  assert.equal((await leave(after, "a1"))[0].step, manifest.steps);
  await after.close();

  const alone = swarmOf(1);
  await alone.until(() => alone.steps().length === 2);
  alone.stop("trainer");
  await pass(alone, 100);
  const startMs = alone.simulation.clock.nowMs();
  await leave(alone, "a1");
  const tookMs = alone.simulation.clock.nowMs() - startMs;
  assert.ok(tookMs <= 2 * LEASE_MS + HELLO_PERIOD_MS, `it took ${tookMs} ms`);
  await alone.close();
});
