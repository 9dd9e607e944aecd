/**
 * Hosts that are slow, that take work and keep silent, or that compute and keep
 * the result: each may cost a bounded time once, and nothing after that. Time is
 * virtual, so that the bounds are exact.
 */

import assert from "node:assert/strict";
import type { PeerId } from "../actors/core/actor.ts";
import { EXCUSE_MS_MAX, HOP_TIMEOUT_MS_MIN, WALK_TIMEOUT_MS_MIN } from "../actors/limits.ts";
import { COOLOFF_PER_WASTE_MIN } from "../routing/mod.ts";
import { SimulatedSwarm, type SwarmOptions } from "../sim/swarm.ts";
import { countingDataset, tinyManifest } from "./data.ts";
import { assertClose, soloRun } from "./solo.ts";

const FORWARD_MS = 10;
const BACKWARD_MS = 20;
const PEERS = ["peer-1", "peer-2", "peer-3"];

/** More micro-batches than one host can hold. */
const manifest = tinyManifest({
  steps: 12,
  microBatchesPerStep: 24,
  validation: { fraction: 0, everySteps: 10, microBatches: 2 },
  model: { ...tinyManifest().model, width: 8, hidden: 8, heads: 1 },
});

/** Milliseconds of a step whose slowest stage shares its work evenly, once it is filled. */
const IDEAL_MS = manifest.microBatchesPerStep / PEERS.length * (FORWARD_MS + BACKWARD_MS);

function kindOf(header: unknown): string {
  return (header as { readonly kind: string }).kind;
}

/** Three stages of three good hosts each, and an odd one in the second. Runs to the end, and compares with one machine. */
async function runWith(
  oddity: { readonly slowness?: number; readonly fault?: SwarmOptions["fault"] },
): Promise<SimulatedSwarm> {
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingDataset(manifest),
    seed: 3,
    durationMs: (peer, { kind }) => {
      const factor = peer === "odd" ? oddity.slowness ?? 1 : 1;
      return kind === "forward" ? factor * FORWARD_MS : kind === "backward" ? factor * BACKWARD_MS : 2;
    },
    fault: oddity.fault,
  });
  for (let stage = 0; stage < 3; stage++) {
    for (const peer of PEERS) swarm.startHost(stage === 1 ? peer : `${peer} of ${stage}`, stage);
  }
  swarm.startHost("odd", 1);
  swarm.startTrainer("trainer");
  assert.equal((await swarm.finish())?.kind, "done");
  assertClose(swarm.steps().map(({ loss }) => loss), (await soloRun(manifest)).losses, 1e-5, "losses");
  for (const { step, served } of swarm.steps()) {
    const cells = Object.values(served).reduce((sum, count) => sum + count, 0);
    assert.equal(cells, 3 * manifest.microBatchesPerStep, `cells of step ${step}`);
  }
  await swarm.close();
  return swarm;
}

function msOf(swarm: SimulatedSwarm): number[] {
  return swarm.steps().map(({ seconds }) => seconds * 1000);
}

function servedBy(swarm: SimulatedSwarm, peer: PeerId, from = 1): number {
  return swarm.steps().slice(from - 1).reduce((sum, { served }) => sum + (served[peer] ?? 0), 0);
}

Deno.test("a host 10 times slower than its peers takes its share and no more, and no step waits for it long", async () => {
  const usual = msOf(await runWith({}));
  const swarm = await runWith({ slowness: 10 });
  const share = servedBy(swarm, "odd", 2) / (servedBy(swarm, "peer-1", 2) + 1);
  assert.ok(share > 0.02 && share < 0.2, `its share is ${share} of a peer's, expected about 0.1`);
  msOf(swarm).forEach((ms, index) => {
    // As long as nobody's pace is known it is given what everybody is; later, at the worst, a walk or
    // two from each sender just before the others are done.
    const late = index === 0 ? manifest.microBatchesPerStep / (PEERS.length + 1) : PEERS.length;
    const mostMs = (index === 0 ? usual[0] : IDEAL_MS) + late * 10 * (FORWARD_MS + BACKWARD_MS);
    assert.ok(ms <= mostMs, `step ${index + 1} took ${ms} ms, expected at most ${mostMs}`);
  });
});

Deno.test("a host that takes walks in and never answers costs one time-out, and nothing until it is tried again", async () => {
  const usual = msOf(await runWith({}));
  const swarm = await runWith({
    fault: (from, _to, { header }) =>
      from === "odd" && ["processed", "forward", "backward"].includes(kindOf(header))
        ? { kind: "drop" }
        : undefined,
  });
  const [first, ...rest] = msOf(swarm);
  assert.ok(first <= usual[0] + HOP_TIMEOUT_MS_MIN + 2 * IDEAL_MS, `the first step took ${first} ms`);
  assert.ok(
    rest.reduce((sum, ms) => sum + ms, 0) < COOLOFF_PER_WASTE_MIN * HOP_TIMEOUT_MS_MIN,
    "before it is tried again",
  );
  rest.forEach((ms, index) => assert.ok(ms <= 2.5 * IDEAL_MS, `step ${index + 2} took ${ms} ms`));
  assert.equal(servedBy(swarm, "odd"), 0);
});

Deno.test("a host that computes and never returns a gradient costs one time-out, and nothing until it is tried again", async () => {
  const usual = msOf(await runWith({}));
  const swarm = await runWith({
    fault: (from, _to, { header }) =>
      from === "odd" && kindOf(header) === "backward" ? { kind: "drop" } : undefined,
  });
  const [first, ...rest] = msOf(swarm);
  assert.ok(
    first <= usual[0] + WALK_TIMEOUT_MS_MIN + EXCUSE_MS_MAX + 2 * IDEAL_MS,
    `the first step took ${first} ms`,
  );
  rest.forEach((ms, index) => assert.ok(ms <= 2.5 * IDEAL_MS, `step ${index + 2} took ${ms} ms`));
  assert.equal(servedBy(swarm, "odd", 2), 0);
  // Hosts of the first stage waited for it, and were not blamed.
  for (const peer of PEERS) assert.ok(servedBy(swarm, `${peer} of 0`, 2) > 0, `${peer} was blamed`);
});

Deno.test("a host that answers after it was given up does no harm: nothing counts twice", async () => {
  const lateMs = HOP_TIMEOUT_MS_MIN + 500;
  const kinds = ["admitted", "processed", "forward", "backward", "accumulated"];
  const swarm = await runWith({
    fault: (from, _to, { header }) =>
      from === "odd" && kinds.includes(kindOf(header)) ? { kind: "delay", delayMs: lateMs } : undefined,
  });
  const [, ...rest] = msOf(swarm);
  rest.forEach((ms, index) => assert.ok(ms <= 2.5 * IDEAL_MS, `step ${index + 2} took ${ms} ms`));
});
