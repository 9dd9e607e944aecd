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
import { type Candidate, DEVICES, lackingOps } from "../kernels/testing/devices.ts";
import type { WorkerDevice } from "../stages/mod.ts";
import { countingText, tinyManifest } from "./data.ts";
import { assertClose, soloRun } from "./solo.ts";

/** The device that stands for any GPU here, and the candidate of the common suite that says whether it works. */
const GPU: WorkerDevice = { name: "webgpu", sources: ["navigator"] };
const gpu: Candidate = DEVICES.find(({ name }) => name === "webgpu (navigator.gpu)")!;

const onnx: WorkerDevice = { name: "onnx", threads: 1 };
const reference: WorkerDevice = { name: "reference" };

Deno.test({
  name: "stages on webgpu, onnx and reference, and replicas on webgpu and onnx, train as one machine does",
  ignore: gpu.open === undefined || lackingOps(gpu).length > 0,
  async fn() {
    const manifest = tinyManifest({ replicas: { floor: 1, ceiling: 2 } });
    const expected = await soloRun(manifest);
    const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
    const events: RunEvent[] = [];
    const hosts: string[] = [];
    try {
      const run = join(folder, "run.json");
      const data = join(folder, "data.txt");
      await Deno.writeTextFile(run, JSON.stringify(manifest));
      await Deno.writeTextFile(data, countingText(20_000));
      const device = [[GPU], [onnx], [reference]];
      await using swarm = await LocalSwarm.start({ run, folder, device, threads: 1, clock: new RealClock() });
      for (const stage of [0, 1, 2]) hosts.push((await swarm.startHost(stage)).peer);
      // The other replica of the first stage.
      hosts.push((await swarm.startHost(0, undefined, [[onnx], [onnx], [onnx]])).peer);
      for await (const event of swarm.train(data, join(folder, "output"))) events.push(event);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
    const steps = events.flatMap((event) => event.kind === "step" ? [event] : []);
    assertClose(steps.map(({ loss }) => loss), expected.losses, 1e-3);
    const served = steps.flatMap((step) => Object.keys(step.served));
    for (const host of hosts) assert.ok(served.includes(host), "every host had a share");
    // A replica whose state is not the others' is sent for theirs: it would leave, and join again.
    const gone = events.filter(({ kind }) => kind === "lost");
    assert.deepEqual(gone, []);
    const joined = events.flatMap((event) => event.kind === "joined" ? [event.peer] : []);
    assert.deepEqual(joined.sort(), hosts.sort());
    const together = steps.filter((step) => step.hosts[0] === 2);
    assert.ok(together.length >= 20, `the replicas were together for ${together.length} steps only`);
  },
});
