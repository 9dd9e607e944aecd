import assert from "node:assert/strict";
import { ReferenceDevice } from "../kernels/mod.ts";
import { type Manifest, partition } from "../run/mod.ts";
import { MemorySnapshots } from "../sim/memory_snapshots.ts";
import { SimulatedSwarm } from "../sim/swarm.ts";
import { CompiledStage, type Stage, type WholeState } from "../stages/mod.ts";
import { countingDataset, tinyManifest } from "./data.ts";

/** A run that begins with published weights, and what its stages hold then. */
async function publishedRun(steps: number): Promise<{ manifest: Manifest; states: readonly WholeState[] }> {
  const manifest = tinyManifest({ steps });
  const states: WholeState[] = [];
  for (const { index } of partition(manifest)) {
    const stage = await opened({ ...manifest, seed: manifest.seed + 1 }, index);
    states.push(await stage.exportState());
    await stage.close();
  }
  const hashes = states.map(({ manifest }) => manifest.stateHash);
  return {
    manifest: { ...manifest, weights: { kind: "safetensors", files: ["model.safetensors"], states: hashes } },
    states,
  };
}

function opened(manifest: Manifest, index: number): Promise<CompiledStage> {
  return CompiledStage.create({ device: new ReferenceDevice(), manifest, index });
}

/** A swarm in which hosts whose names end with `+` have the files of weights. */
async function swarmOf(steps = 4) {
  const { manifest, states } = await publishedRun(steps);
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed: 3,
    openStage: async (index, peer): Promise<Stage> => {
      const stage = await opened(manifest, index);
      if (peer.endsWith("+")) await stage.importState(states[index].manifest, states[index].bytes);
      return stage;
    },
  });
  const hashOf = async (peer: string) => (await swarm.stages.get(peer)!.describeState()).stateHash;
  const start = (...peers: string[]) => peers.forEach((peer) => swarm.startHost(peer, Number(peer[0])));
  return { manifest, swarm, hashOf, start, first: states.map(({ manifest }) => manifest.stateHash) };
}

Deno.test("hosts without the files of weights get them from those that have them, and take every step", async () => {
  // Of stage 0 most lack them.
  const { manifest, swarm, hashOf, start } = await swarmOf();
  start("0a", "0b", "0c+", "1a+", "1b", "2a+");
  swarm.startTrainer("trainer");
  assert.equal((await swarm.finish())?.kind, "done");
  for (const [one, other] of [["0a", "0c+"], ["0b", "0c+"], ["1b", "1a+"]]) {
    assert.equal(swarm.stages.get(one)!.step, manifest.steps);
    assert.equal(await hashOf(one), await hashOf(other));
  }
  await swarm.close();
});

Deno.test("nobody begins a run with other weights: it waits until somebody comes who has them", async () => {
  const { swarm, hashOf, start, first } = await swarmOf();
  start("0a", "0b", "1a+", "2a+");
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.events.some(({ kind }) => kind === "waiting"));
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 60_000 });
  assert.deepEqual(swarm.steps(), []);
  for (const peer of ["0a", "0b"]) {
    assert.equal(swarm.statuses.get(peer)!.serving, false);
    assert.match(swarm.statuses.get(peer)!.trouble!, /weights that the run begins with are not here/);
    assert.notEqual(await hashOf(peer), first[0]);
  }
  start("0c+");
  assert.equal((await swarm.finish())?.kind, "done");
  assert.equal(await hashOf("0a"), await hashOf("0c+"));
  await swarm.close();
});

Deno.test("without a trainer, too, they find who has them, and by nobody's word but the manifest's", async () => {
  const { swarm, hashOf, start, first } = await swarmOf();
  // Stage 1 has several donors, one of which knows nothing.
  start("0a+", "1a", "1b+", "1c", "1d+", "2a+");
  const holds = async (peer: string, stage: number) => await hashOf(peer) === first[stage];
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 120_000 });
  assert.ok(await holds("1a", 1) && await holds("1c", 1));
  assert.equal(swarm.statuses.get("1a")!.trouble, undefined);
  await swarm.close();
});

Deno.test("weights that were fetched are there after a restart, when nobody else has them any more", async () => {
  const { swarm, hashOf, start, first } = await swarmOf();
  const disk = new MemorySnapshots();
  start("1a+");
  swarm.startHost("1b", 1, disk);
  await swarm.until(() => disk.states.has(1));
  assert.deepEqual(disk.states.get(1)!.map(({ manifest, proof }) => [manifest.stateHash, proof]), [
    [first[1], undefined],
  ]);
  swarm.kill("1a+");
  swarm.kill("1b");
  swarm.startHost("1b", 1, disk);
  await swarm.until(() => swarm.statuses.get("1b")?.servesSessions === true);
  assert.equal(await hashOf("1b"), first[1]);
  // And others fetch them from there, under a trainer.
  start("0a+", "1c", "2a+");
  swarm.startTrainer("trainer");
  assert.equal((await swarm.finish())?.kind, "done");
  assert.equal(await hashOf("1c"), await hashOf("1b"));
  await swarm.close();
});

Deno.test("of a disk only what the manifest names is believed without signatures", async () => {
  const { manifest, swarm, hashOf, start, first } = await swarmOf();
  const disk = new MemorySnapshots();
  const other = await opened({ ...manifest, seed: 99 }, 1);
  const strange = await other.exportState();
  await other.close();
  await disk.save(1, strange.manifest, strange.bytes, undefined);
  start("1a+");
  swarm.startHost("1b", 1, disk);
  await swarm.until(() => disk.states.get(1)![0].manifest.stateHash === first[1]);
  assert.equal(await hashOf("1b"), first[1]);
  await swarm.close();
});

Deno.test("a host that comes late, when steps were taken, needs the files no more", async () => {
  const { manifest, swarm, hashOf, start } = await swarmOf(8);
  start("0a+", "1a+", "2a+");
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length >= 2);
  start("1b");
  assert.equal((await swarm.finish())?.kind, "done");
  assert.equal(swarm.stages.get("1b")!.step, manifest.steps);
  assert.equal(await hashOf("1b"), await hashOf("1a+"));
  await swarm.close();
});
