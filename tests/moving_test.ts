/**
 * Hosts that are sent to another stage: the poorest gets what others can spare,
 * no micro-batch is lost or counted twice, and replicas stay alike.
 */

import assert from "node:assert/strict";
import { countingData, countingLoss, countingManifest } from "../sim/counting_run.ts";
import { type AppliedSum, CountingStage } from "../sim/counting_stage.ts";
import { SimulatedSwarm, type SwarmOptions } from "../sim/swarm.ts";

const MICRO_BATCHES = 12;

/** A swarm of counting stages; whatever is applied has to hold each micro-batch once. */
function countingSwarm(
  change: { stages?: number; steps?: number; everySeconds?: number } & Partial<SwarmOptions> = {},
): SimulatedSwarm {
  const { stages = 3, steps = 60, everySeconds = 5, ...options } = change;
  const manifest = countingManifest({
    stages,
    steps,
    microBatchesPerStep: MICRO_BATCHES,
    rebalance: { everySeconds },
  });
  const checks = new Map<string, number>();
  const applied = ({ stage, step, counts, strays, check }: AppliedSum) => {
    assert.deepEqual([...counts], new Array(MICRO_BATCHES).fill(1), `stage ${stage}, step ${step}`);
    assert.equal(strays, 0);
    const key = `${stage}/${step}`;
    assert.equal(checks.get(key) ?? check, check, `replicas of stage ${stage} differ at step ${step}`);
    checks.set(key, check);
  };
  return new SimulatedSwarm({
    manifest,
    dataset: countingData(),
    seed: 1,
    durationMs: (_, work) => work.kind === "forward" || work.kind === "backward" ? 50 : 2,
    openStage: (index) => Promise.resolve(new CountingStage({ manifest, index, watcher: { applied } })),
    ...options,
  });
}

/** Serving hosts of each stage, by what they say themselves. */
function serving(swarm: SimulatedSwarm, stages = 3): number[] {
  const counts = new Array<number>(stages).fill(0);
  for (const [peer, { stage, serving }] of swarm.statuses) {
    if (swarm.stages.has(peer) && serving) counts[stage!]++;
  }
  return counts;
}

function moves(swarm: SimulatedSwarm) {
  return swarm.events.flatMap((event) => event.kind === "moved" ? [event] : []);
}

Deno.test("when a stage has lost hosts, others come from where they can be spared", async () => {
  const swarm = countingSwarm();
  for (let host = 0; host < 9; host++) swarm.startHost(`host-${host}`);
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 2);
  assert.deepEqual(serving(swarm), [3, 3, 3]);
  const poor = [...swarm.statuses].filter(([, { stage }]) => stage === 1).map(([peer]) => peer);
  for (const peer of poor.slice(0, 2)) swarm.kill(peer);
  await swarm.until(() => Math.min(...serving(swarm)) === 2);
  assert.equal(moves(swarm).length, 1);
  assert.equal(moves(swarm)[0].to, 1);
  assert.equal((await swarm.finish())?.kind, "done");
  assert.equal(moves(swarm).length, 1, "nobody moves without need");
  assert.deepEqual(
    swarm.steps().map(({ loss }) => Math.round(loss * 1e6)),
    swarm.steps().map(() =>
      Math.round(
        1e6 * Array.from({ length: MICRO_BATCHES }, (_, m) => countingLoss(m)).reduce((a, b) => a + b) /
          (2 * MICRO_BATCHES),
      )
    ),
  );
  await swarm.close();
});

Deno.test("nobody is sent elsewhere whose owner asked for a stage, or when it is switched off", async () => {
  for (
    const [everySeconds, stageOf] of [[5, (host: number) => Number(host > 0)], [0, () => undefined]] as const
  ) {
    const swarm = countingSwarm({ stages: 2, steps: 30, everySeconds });
    for (let host = 0; host < 6; host++) swarm.startHost(`host-${host}`, stageOf(host));
    swarm.startTrainer("trainer");
    await swarm.until(() => swarm.steps().length === 2);
    if (everySeconds === 0) {
      const poor = [...swarm.statuses].filter(([, { stage }]) => stage === 1).map(([peer]) => peer);
      for (const peer of poor.slice(1)) swarm.kill(peer);
    }
    assert.equal((await swarm.finish())?.kind, "done");
    assert.deepEqual(moves(swarm), []);
    await swarm.close();
  }
});
