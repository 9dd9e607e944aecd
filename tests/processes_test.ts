/**
 * The same comparison with real processes: a bootstrap node, hosts in their boxes
 * and a trainer, over libp2p on loopback, each on ONNX Runtime.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { RealClock } from "../actors/core/real_clock.ts";
import type { RunEvent } from "../actors/report.ts";
import { type LocalHost, LocalSwarm } from "../cli/local_swarm.ts";
import { SnapshotFolder } from "../cli/snapshot_folder.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { ReferenceDevice } from "../kernels/mod.ts";
import { byteTokenizer, Dataset, type Manifest } from "../run/mod.ts";
import { countingText, tinyManifest } from "./data.ts";
import { assertClose, assertSameWeights, soloRun, weightsOf } from "./solo.ts";

type Step = Extract<RunEvent, { kind: "step" }>;

/** What a swarm of processes left behind. */
interface Outcome {
  readonly steps: readonly Step[];
  readonly events: readonly RunEvent[];
  readonly hosts: readonly LocalHost[];
}

/**
 * Trains in 3 stages × 2 replicas, and hands over each event as it comes.
 *
 * @param after called when the swarm has ended, before its folder goes.
 */
async function trainInProcesses(
  manifest: Manifest,
  device: "onnx" | "reference",
  text: string,
  onEvent: (event: RunEvent, hosts: readonly LocalHost[]) => Promise<void>,
  after: (outcome: Outcome, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
  try {
    const run = join(folder, "run.json");
    const data = join(folder, "data.txt");
    await Deno.writeTextFile(run, JSON.stringify(manifest));
    await Deno.writeTextFile(data, text);
    const events: RunEvent[] = [];
    const hosts: LocalHost[] = [];
    {
      await using swarm = await LocalSwarm.start({ run, folder, device, threads: 1, clock: new RealClock() });
      const stages = [0, 1, 2, 0, 1, 2];
      hosts.push(...await Promise.all(stages.map((stage) => swarm.startHost(stage))));
      for await (const event of swarm.train(data, join(folder, "output"))) {
        events.push(event);
        await onEvent(event, hosts);
      }
    }
    const steps = events.flatMap((event) => event.kind === "step" ? [event] : []);
    await after({ steps, events, hosts }, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Two replicas a stage from the start, so that there is somebody to lose. */
const manifest = tinyManifest({ replicas: { floor: 2, ceiling: 8 } });
const text = countingText(20_000);
const dataset = Dataset.fromTexts(manifest, byteTokenizer, [text]);

/** The weights on the disks of the hosts that are left, against those of one process. */
async function assertWeightsOnDisks(
  hosts: readonly LocalHost[],
  folder: string,
  expected: readonly Float32Array[],
  tolerance: number,
): Promise<void> {
  let compared = 0;
  for (const { number } of hosts) {
    const snapshots = new SnapshotFolder(
      join(folder, `host-${number}`, "snapshots"),
      manifest,
      (name, reason) => {
        assert.fail(`${name}: ${reason}`);
      },
    );
    for (let stage = 0; stage < expected.length; stage++) {
      const newest = (await snapshots.list(stage)).find(({ step }) => step === manifest.steps);
      if (newest === undefined) continue;
      const { bytes } = await snapshots.load(stage, newest.stateHash);
      assertSameWeights(weightsOf(manifest, stage, bytes), expected[stage], tolerance);
      compared++;
    }
  }
  assert.ok(compared >= 3, `only ${compared} hosts had written their last state`);
}

for (
  const [device, solo, tolerance] of [
    ["onnx", () => new OnnxDevice(), 1e-4],
    ["reference", () => new ReferenceDevice(), 1e-5],
  ] as const
) {
  Deno.test(`3 stages × 2 processes on ${device} take the same 30 steps as one process`, async () => {
    const expected = await soloRun(manifest, solo(), dataset);
    await trainInProcesses(
      manifest,
      device,
      text,
      () => Promise.resolve(),
      async ({ steps, hosts }, folder) => {
        assertClose(steps.map(({ loss }) => loss), expected.losses, tolerance);
        await assertWeightsOnDisks(hosts, folder, expected.weights, tolerance);
        const serving = new Set(steps.flatMap(({ served }) => Object.keys(served)));
        assert.equal(serving.size, 6, "all six hosts had a share");
      },
    );
  });
}

Deno.test("a process killed with -9 in the middle of a run changes no step", async () => {
  const expected = await soloRun(manifest, new OnnxDevice(), dataset);
  let victim: LocalHost | undefined;
  await trainInProcesses(manifest, "onnx", text, async (event, hosts) => {
    if (event.kind !== "step" || event.step !== 10 || victim !== undefined) return;
    // The next step is under way by the time that this one is known.
    victim = hosts[1];
    await victim.kill();
  }, async ({ steps, events, hosts }, folder) => {
    assertClose(steps.map(({ loss }) => loss), expected.losses, 1e-4);
    const survivors = hosts.filter((host) => host !== victim);
    await assertWeightsOnDisks(survivors, folder, expected.weights, 1e-4);
    assert.ok(
      events.some((event) => event.kind === "lost" && event.peer === victim!.peer),
      "the loss was noticed",
    );
    assert.deepEqual(steps.at(-1)!.hosts, [2, 1, 2]);
  });
});

Deno.test("a host that is interrupted in the middle of a run hands over: nothing is sent again", async () => {
  const expected = await soloRun(manifest, new OnnxDevice(), dataset);
  let leaver: LocalHost | undefined;
  await trainInProcesses(manifest, "onnx", text, (event, hosts) => {
    if (event.kind === "step" && event.step === 10 && leaver === undefined) {
      leaver = hosts[1];
      // As Ctrl-C does.
      process.kill(leaver.pid, "SIGINT");
    }
    return Promise.resolve();
  }, async ({ steps, events }, folder) => {
    assertClose(steps.map(({ loss }) => loss), expected.losses, 1e-4);
    const left = events.findIndex((event) => event.kind === "lost");
    assert.deepEqual(events[left], {
      kind: "lost",
      peer: leaver!.peer,
      stage: 1,
      step: steps.findLast((step) => events.indexOf(step) < left)!.step,
      reason: "it left in good order",
    });
    assert.deepEqual(steps.map(({ replays }) => replays), steps.map(() => 0));
    assert.deepEqual(steps.at(-1)!.hosts, [2, 1, 2]);
    assert.match(await Deno.readTextFile(join(folder, `host-${leaver!.number}.log`)), /Left stage 1/);
  });
});
