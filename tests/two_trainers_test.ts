/**
 * Two trainers in processes of their own share a run; the one that coordinates it
 * is killed with -9 in the middle, and the other goes on as one process would.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { RealClock } from "../actors/core/real_clock.ts";
import type { RunEvent } from "../actors/report.ts";
import { LocalSwarm } from "../cli/local_swarm.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { byteTokenizer, Dataset } from "../run/mod.ts";
import { countingText, tinyManifest } from "./data.ts";
import { assertClose, soloRun } from "./solo.ts";

Deno.test("when the process that coordinates is killed, another trainer's goes on where it stood", async () => {
  // Long enough that the second trainer has joined before the end.
  const manifest = tinyManifest({ steps: 200, replicas: { floor: 1, ceiling: 8 } });
  const text = countingText(20_000);
  const expected = await soloRun(
    manifest,
    new OnnxDevice(),
    Dataset.fromTexts(manifest, byteTokenizer, [text]),
  );
  const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
  try {
    const run = join(folder, "run.json");
    const data = join(folder, "data.txt");
    await Deno.writeTextFile(run, JSON.stringify(manifest));
    await Deno.writeTextFile(data, text);
    await using swarm = await LocalSwarm.start({
      run,
      folder,
      device: "onnx",
      threads: 1,
      clock: new RealClock(),
    });
    const steps = new Map<number, number>();
    const kinds = new Map<string, Set<RunEvent["kind"]>>();
    let victim: string | undefined;
    const watch = async (name: string) => {
      const seen = new Set<RunEvent["kind"]>();
      kinds.set(name, seen);
      for await (const event of swarm.train(data, join(folder, name))) {
        seen.add(event.kind);
        if (event.kind !== "step") continue;
        assert.ok((steps.get(event.step) ?? event.loss) === event.loss, "one loss a step");
        steps.set(event.step, event.loss);
        const others = [...kinds].filter(([other]) => other !== name);
        const shared = others.every(([, kinds]) => kinds.has("following"));
        if (victim !== undefined || !seen.has("leading") || !shared || event.step < 10) continue;
        victim = name;
        process.kill(pids.get(name)!, "SIGKILL");
      }
    };
    const pids = new Map<string, number>();
    const watched = ["first", "second"].map((name) => {
      const before = new Set(swarm.processes.map(({ pid }) => pid));
      const ended = watch(name).then(() => name);
      pids.set(name, swarm.processes.find(({ pid }) => !before.has(pid))!.pid);
      return ended;
    });
    const settled = Promise.allSettled(watched);
    await Promise.all([0, 1, 2].map((stage) => swarm.startHost(stage)));
    const ends = await settled;
    assert.ok(victim !== undefined, "nobody was killed: the run was over before both trainers had met");
    const survivor = victim === "first" ? "second" : "first";
    assert.deepEqual(
      ends.map(({ status }) => status),
      ["first", "second"].map((name) => name === victim ? "rejected" : "fulfilled"),
    );
    assert.ok(kinds.get(survivor)!.has("leading"), "the other trainer took over");
    assert.ok(kinds.get(survivor)!.has("done"));
    const known = [...steps].sort(([a], [b]) => a - b);
    // Whoever takes over also tells of the step that the first did not live to tell of.
    assert.equal(known.length, manifest.steps);
    assertClose(known.map(([, loss]) => loss), known.map(([step]) => expected.losses[step - 1]), 1e-4);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
