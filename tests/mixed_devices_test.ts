/**
 * A swarm whose hosts compute on different devices: real processes, one stage
 * on a GPU by our own kernels, one on ONNX Runtime, one in plain loops. And two
 * replicas of one stage on different devices, whose states have to be the same
 * to the bit after every step.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { RealClock } from "../actors/core/real_clock.ts";
import type { RunEvent } from "../actors/report.ts";
import { LocalSwarm } from "../cli/local_swarm.ts";
import { type Candidate, DEVICES } from "../kernels/testing/devices.ts";
import type { WorkerDevice } from "../stages/mod.ts";
import { type Manifest, partition } from "../run/mod.ts";
import { countingText, tinyManifest } from "./data.ts";
import { assertClose, soloRun } from "./solo.ts";

/** The device that stands for any GPU here, and the candidate of the common suite that says whether it works. */
const GPU: WorkerDevice = { name: "webgpu", sources: ["navigator"] };
const gpu: Candidate = DEVICES.find(({ name }) => name === "webgpu (navigator.gpu)")!;

const onnx: WorkerDevice = { name: "onnx", threads: 1 };
const reference: WorkerDevice = { name: "reference" };
const ignore = gpu.open === undefined;

/**
 * Trains in real processes.
 *
 * @param hosts one for each stage and device.
 */
async function train(manifest: Manifest, hosts: readonly (readonly [number, WorkerDevice])[]) {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
  try {
    const run = join(folder, "run.json");
    const data = join(folder, "data.txt");
    await Deno.writeTextFile(run, JSON.stringify(manifest));
    await Deno.writeTextFile(data, countingText(20_000));
    const clock = new RealClock();
    await using swarm = await LocalSwarm.start({ run, folder, device: "onnx", threads: 1, clock });
    const stages = partition(manifest);
    await Promise.all(
      hosts.map(([stage, device]) => swarm.startHost(stage, undefined, stages.map(() => [device]))),
    );
    const events: RunEvent[] = await Array.fromAsync(swarm.train(data, join(folder, "output")));
    return { events, steps: events.flatMap((event) => event.kind === "step" ? [event] : []) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "stages on webgpu, onnx and reference take the same 30 steps as one machine",
  ignore,
  async fn() {
    const manifest = tinyManifest();
    const expected = await soloRun(manifest);
    const { steps } = await train(manifest, [[0, GPU], [1, onnx], [2, reference]]);
    assertClose(steps.map(({ loss }) => loss), expected.losses, 1e-3);
  },
});

Deno.test({
  name: "replicas of a stage on webgpu, onnx and reference hold the same bits after every step",
  ignore,
  async fn() {
    const manifest = tinyManifest({ steps: 8, replicas: { floor: 2, ceiling: 2 } });
    const expected = await soloRun(manifest);
    const { events, steps } = await train(manifest, [
      [0, GPU],
      [0, onnx],
      [1, GPU],
      [1, reference],
      [2, onnx],
      [2, reference],
    ]);
    assertClose(steps.map(({ loss }) => loss), expected.losses, 1e-3);
    // A replica whose state is not the others' is lost to the step, and sent for theirs.
    assert.deepEqual(events.filter(({ kind }) => kind === "lost"), []);
    assert.deepEqual(steps.map(({ hosts }) => hosts), steps.map(() => [2, 2, 2]));
  },
});
