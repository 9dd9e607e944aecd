/**
 * Weights taken out of a swarm of real processes, by `deno task export`: what comes
 * out is what went in, and nothing does of a stage whose host was told not to.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { RealClock } from "../actors/core/real_clock.ts";
import { Child } from "../cli/child.ts";
import type { LocalSwarm } from "../cli/local_swarm.ts";
import { readManifest } from "../cli/manifest_file.ts";
import { GREEDY, type Manifest } from "../run/mod.ts";
import { importModel, lettersFolder, soloIds, withHosts } from "./served_model.ts";

/** The command as a person runs it. */
async function exportModel(run: string, { address }: LocalSwarm, out: string) {
  const join = ["--run", run, "--bootstrap", address, "--listen", "/ip4/127.0.0.1/tcp/0"];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "-A", new URL("../cli/export.ts", import.meta.url).pathname],
      ...[...join, "--out", out, "--json"],
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** `deno task host --no-export`, once it serves. */
async function startRefusingHost(run: string, { address }: LocalSwarm, stage: number, folder: string) {
  const child = Child.start(
    new URL("../cli/host.ts", import.meta.url),
    [
      ...["--leash", "--run", run, "--bootstrap", address, "--listen", "/ip4/127.0.0.1/tcp/0"],
      ...[
        "--stage",
        String(stage),
        "--data-dir",
        join(folder, "refusing"),
        "--device",
        "onnx",
        "--threads",
        "1",
      ],
      ...["--no-export", "--json"],
    ],
    join(folder, "refusing.log"),
    new RealClock(),
  );
  const lines = child.lines();
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    if (!JSON.parse(line.value).servesSessions) continue;
    // Nobody else reads what it says, and it must not wait for that.
    Array.fromAsync(lines).catch(() => {});
    return child;
  }
  throw new Error(`The host has ended:\n${await Deno.readTextFile(join(folder, "refusing.log"))}`);
}

/** Hashes of the states that its stages begin with. */
function statesOf({ weights }: Manifest): readonly string[] {
  assert.ok(weights.kind === "safetensors");
  return weights.states;
}

Deno.test("real hosts give a whole model away, unless the only one of a stage was told not to", async () => {
  const folder = await lettersFolder();
  try {
    const run = await importModel(folder, 2);
    await withHosts({ run, replicas: [1, 0] }, async (swarm) => {
      const out = join(folder, "out");
      await using _refusing = await startRefusingHost(run, swarm, 1, folder);
      const refused = await exportModel(run, swarm, out);
      assert.match(
        refused.stderr,
        /^error: Cannot export stage 1: its host refuses \(its owner does not let it be exported\)$/m,
      );
      assert.deepEqual([refused.code, refused.stdout], [1, ""]);
      await assert.rejects(Deno.stat(out), Deno.errors.NotFound);

      await swarm.startHost(1);
      const exported = await exportModel(run, swarm, out);
      assert.equal(exported.code, 0, exported.stderr);
      assert.deepEqual(JSON.parse(exported.stdout), { folder: out, step: 0, stages: [0, 1], missing: [] });
      const again = await importModel(out, 2);
      const [imported, reimported] = [await readManifest(run), await readManifest(again)];
      assert.deepEqual(reimported.model, imported.model);
      assert.deepEqual(statesOf(reimported), statesOf(imported));
      const ids = await soloIds(run, "once upon a time", 20, GREEDY);
      assert.deepEqual(await soloIds(again, "once upon a time", 20, GREEDY), ids);
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
