import assert from "node:assert/strict";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { type Manifest, partition } from "../run/mod.ts";
import { LyingWire } from "../sim/lying_wire.ts";
import { MemorySnapshots } from "../sim/memory_snapshots.ts";
import { SimulatedSwarm, type SwarmOptions } from "../sim/swarm.ts";
import { stageLayout, WeightFile } from "../stages/mod.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { soloRun, weightsOf } from "./solo.ts";

const HOSTS = ["0a", "0b", "1a", "1b", "2a", "2b"];

function swarmOf(manifest: Manifest, options: Partial<SwarmOptions> = {}): SimulatedSwarm {
  const swarm = new SimulatedSwarm({ manifest, dataset: countingDataset(manifest), seed: 5, ...options });
  for (const host of HOSTS) swarm.startHost(host, Number(host[0]), new MemorySnapshots());
  return swarm;
}

/** Takes weights out of a swarm: what came of it, once virtual time has brought it about. */
async function exported(
  swarm: SimulatedSwarm,
  stages: readonly number[] = [0, 1, 2],
  manifest = tinyManifest(),
) {
  const written = new Map<number, Float32Array>();
  let at: number | undefined;
  let error: Error | undefined;
  let isDone = false;
  const exporter = swarm.startExporter("exporter", {
    stages,
    open: (step) => {
      at = step;
      return Promise.resolve(
        new Map(stages.map((stage) => {
          const file = new WeightFile(
            `stage ${stage}`,
            stageLayout(manifest.model, partition(manifest)[stage]),
            "F32",
          );
          const bytes = new Uint8Array(file.bytes);
          return [stage, {
            pieces: file.pieces,
            write: (piece: number, state: Uint8Array) => {
              const placed = file.place(piece, state);
              bytes.set(placed.bytes, placed.at);
              written.set(stage, new Float32Array(bytes.slice(file.header.length).buffer));
              return Promise.resolve();
            },
          }];
        })),
      );
    },
  });
  exporter.done.catch((reason) => error = reason).finally(() => isDone = true);
  await swarm.until(() => isDone);
  swarm.stop("exporter");
  return { step: at, written, error };
}

Deno.test("a whole model is exported as it is after one step, while its training goes on", async () => {
  const manifest = tinyManifest({ steps: 12 });
  const swarm = swarmOf(manifest, { snapshotEverySteps: 4 });
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length >= 5);
  const { step, written, error } = await exported(swarm);
  assert.equal(error, undefined);
  assert.ok(step! >= 4, `exported after step ${step}`);
  const alone = await soloRun({ ...manifest, steps: step! });
  for (const [stage, weights] of written) {
    assert.equal(weights.length, alone.weights[stage].length);
    weights.forEach((value, i) => assert.ok(Math.abs(value - alone.weights[stage][i]) < 1e-4));
  }
  assert.equal((await swarm.finish())?.kind, "done");
  await swarm.close();
});

Deno.test("without snapshots the votes of a stage's replicas prove the present state", async () => {
  const manifest = tinyManifest({ steps: 3 });
  const swarm = swarmOf(manifest, { snapshotEverySteps: 1000 });
  swarm.startTrainer("trainer");
  await swarm.finish();
  const { step, written, error } = await exported(swarm);
  assert.deepEqual([step, error], [3, undefined]);
  for (const host of HOSTS) {
    const stage = swarm.stages.get(host)!;
    const { bytes } = await stage.exportState();
    assert.deepEqual(written.get(stage.index), weightsOf(manifest, stage.index, bytes));
  }
  await swarm.close();
});

Deno.test("a stage whose hosts all refuse is not exported, and nobody is asked for its pieces", async () => {
  const manifest = tinyManifest({ steps: 2 });
  const swarm = swarmOf(manifest, { mayExport: (peer) => !peer.startsWith("1") });
  swarm.startTrainer("trainer");
  await swarm.finish();
  const { step, error } = await exported(swarm);
  assert.match(
    error!.message,
    /^Cannot export stage 1: each of its hosts refuses \(its owner does not let it/,
  );
  assert.equal(step, undefined, "nothing was begun");
  assert.equal((await exported(swarm, [0, 2])).error, undefined, "the others may be had");
  await swarm.close();
});

Deno.test("one host that lets it go is enough, if the others' votes are not needed or on its disk", async () => {
  const manifest = tinyManifest({ steps: 4 });
  const swarm = swarmOf(manifest, { mayExport: (peer) => peer !== "1a", snapshotEverySteps: 2 });
  swarm.startTrainer("trainer");
  await swarm.finish();
  const { step, error } = await exported(swarm);
  assert.deepEqual([step, error], [4, undefined]);
  await swarm.close();
});

Deno.test("a host that gives other pieces away is not believed; where it is the only one there is no export", async () => {
  const manifest = tinyManifest({ steps: 4 });
  for (const [liars, isWhole] of [[["2a"], true], [["2a", "2b"], false]] as const) {
    const swarm = swarmOf(manifest, {
      snapshotEverySteps: 2,
      wireOf: (wire) =>
        new LyingWire(
          wire,
          new SeededEntropy(1),
          () => liars.some((it) => it === wire.self) ? ["pieces"] : [],
        ),
    });
    swarm.startTrainer("trainer");
    await swarm.finish();
    const { written, error } = await exported(swarm);
    if (isWhole) assert.equal(error, undefined);
    else assert.match(error!.message, /Cannot fetch state .*: no donor is left; stage 2 is not whole/);
    assert.equal(written.has(2), isWhole);
    await swarm.close();
  }
});

Deno.test("a run that has taken no step has nothing to export, unless its manifest names the weights", async () => {
  const manifest = tinyManifest({ steps: 2 });
  const bare = swarmOf(manifest);
  bare.startTrainer("trainer");
  await bare.until(() => HOSTS.every((host) => bare.statuses.get(host)?.serving));
  bare.stop("trainer");
  const states = await Promise.all(
    ["0a", "1a", "2a"].map(async (host) => (await bare.stages.get(host)!.describeState()).stateHash),
  );
  if (bare.steps().length === 0) {
    assert.match((await exported(bare)).error!.message, /the run has taken no step/);
  }
  await bare.close();

  const named: Manifest = { ...manifest, weights: { kind: "safetensors", files: ["x"], states } };
  const swarm = swarmOf(named);
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 30_000 });
  const { step, error } = await exported(swarm, [0, 1, 2], named);
  assert.deepEqual([step, error], [0, undefined]);
  await swarm.close();
});

Deno.test("where the pieces can't be put there is no export, and its reason is told as it is", async () => {
  const manifest = tinyManifest({ steps: 2 });
  const swarm = swarmOf(manifest);
  swarm.startTrainer("trainer");
  await swarm.finish();
  for (
    const open of [
      () => Promise.reject(new RangeError("the disk is full")),
      () =>
        Promise.resolve(
          new Map([0, 1, 2].map((stage) => [stage, {
            pieces: 1,
            write: () => Promise.reject(new RangeError("the disk is full")),
          }])),
        ),
    ]
  ) {
    const exporter = swarm.startExporter("exporter", { stages: [0, 1, 2], open });
    const refused = assert.rejects(exporter.done, { name: "RangeError", message: "the disk is full" });
    let isRefused = false;
    refused.finally(() => isRefused = true);
    await swarm.until(() => isRefused);
    await refused;
    swarm.stop("exporter");
  }
  await swarm.close();
});
