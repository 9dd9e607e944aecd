import assert from "node:assert/strict";
import { join } from "node:path";
import { RealClock } from "../actors/core/real_clock.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import { type HostTensor, ReferenceDevice } from "../kernels/mod.ts";
import { signState } from "../routing/mod.ts";
import { type Manifest, manifestHash, partition } from "../run/mod.ts";
import { CompiledStage, stageLayout, trainSolo } from "../stages/mod.ts";
import { stateValues } from "../stages/state.ts";
import { REPOSITORY } from "./box.ts";
import { collectText } from "./corpus.ts";
import { LocalSwarm } from "./local_swarm.ts";
import { readManifest } from "./manifest_file.ts";
import { SnapshotFolder } from "./snapshot_folder.ts";
import { plainLogits, type PlainTensor, readPlainTensors } from "./testing/plain_model.ts";
import { CONFIGS, publishedFolder } from "./testing/published_folder.ts";
import { beginWithWeights } from "./weight_files.ts";

/** A folder for one test. */
async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A command as a person runs it. */
async function run(command: "export" | "import", ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", new URL(`./${command}.ts`, import.meta.url).pathname, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

async function done(command: "export" | "import", ...args: string[]) {
  const { code, stdout, stderr } = await run(command, ...args, "--json");
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** All stages of a run on one device, at its beginning. */
async function begin(
  path: string,
): Promise<{ manifest: Manifest; stages: CompiledStage[]; close(): Promise<void> }> {
  const manifest = await readManifest(path);
  const device = new ReferenceDevice();
  const stages: CompiledStage[] = [];
  for (const { index } of partition(manifest)) {
    const stage = await CompiledStage.create({ device, manifest, index });
    await beginWithWeights(stage, path, manifest);
    stages.push(stage);
  }
  return {
    manifest,
    stages,
    async close() {
      for (const stage of stages) await stage.close();
      await device.close();
    },
  };
}

/** Ids of which each follows from those before it. */
const dataset = (manifest: Manifest) => ({
  microBatch(step: number, index: number) {
    const { sequencesPerMicroBatch: sequences, sequenceLength: length, model } = manifest;
    const ids = Int32Array.from(
      { length: sequences * length + 1 },
      (_, i) => (i * i + step + index) % model.vocabulary,
    );
    return { tokens: ids.slice(0, -1), targets: ids.slice(1) };
  },
});

/** Writes the state of a stage into a host's data folder, as its host would, signed by it alone. */
async function keep(dataDir: string, manifest: Manifest, stage: CompiledStage): Promise<void> {
  const identity = await createIdentity();
  const { manifest: state, bytes } = await stage.exportState();
  const claim = {
    run: manifestHash(manifest),
    stage: stage.index,
    step: state.step,
    stateHash: state.stateHash,
  };
  const proof = await signState(claim, [identity.peer], identity);
  await new SnapshotFolder(join(dataDir, "snapshots"), manifest, (_, reason) => assert.fail(reason))
    .save(stage.index, state, bytes, proof);
}

/** Trains a run for some steps and leaves its stages in the data folders of hosts. */
async function trained(path: string, folders: readonly string[], steps: number) {
  const all = await begin(path);
  const { manifest, stages } = all;
  const training = trainSolo({ manifest: { ...manifest, steps }, dataset: dataset(manifest), stages });
  await Array.fromAsync(training);
  for (const [index, stage] of stages.entries()) await keep(folders[index % folders.length], manifest, stage);
  return all;
}

/** The weights that stages hold, by name. */
async function weightsOf(
  manifest: Manifest,
  stages: readonly CompiledStage[],
): Promise<Map<string, Float32Array>> {
  const weights = new Map<string, Float32Array>();
  for (const [index, slice] of partition(manifest).entries()) {
    const layout = stageLayout(manifest.model, slice);
    const { bytes } = await stages[index].exportState();
    for (const parameter of layout.parameters) {
      weights.set(parameter.name, stateValues(layout, bytes, "parameter", parameter));
    }
  }
  return weights;
}

/** Goes on with ids, always with the likeliest. */
async function greedy(stages: readonly CompiledStage[], ids: number[], count: number): Promise<number[]> {
  for (let drawn = 0; drawn < count; drawn++) {
    let input: HostTensor = { dataType: "i32", shape: [1, ids.length], data: Int32Array.from(ids) };
    for (const stage of stages) {
      const result = await stage.forward("it", input, undefined, { keep: false });
      if (result.kind === "activation") input = result.activation;
      else if (result.kind === "logits") {
        const logits = result.logits.data;
        ids = [...ids, logits.indexOf(Math.max(...logits))];
      }
    }
  }
  return ids;
}

function assertSameWeights(
  tensors: ReadonlyMap<string, PlainTensor>,
  weights: ReadonlyMap<string, Float32Array>,
  dtype: string,
  relative: number,
): void {
  assert.deepEqual([...tensors.keys()].sort(), [...weights.keys()].sort());
  for (const [name, values] of weights) {
    const tensor = tensors.get(name)!;
    assert.equal(tensor.dtype, dtype);
    values.forEach((value, i) => {
      const off = Math.abs(tensor.values[i] - value);
      assert.ok(off <= Math.abs(value) * relative, `${name}[${i}]: ${tensor.values[i]}, trained ${value}`);
    });
  }
}

for (const [family, config] of Object.entries(CONFIGS)) {
  Deno.test(`a ${family} that was imported, trained and exported is imported as it was trained`, () =>
    inFolder(async (folder) => {
      const model = await publishedFolder({ config });
      try {
        const { manifest: path } = await done("import", "--model", model, "--stages", "2");
        const hosts = ["one", "two"].map((name) => join(folder, name));
        const { manifest, stages, close } = await trained(path, hosts, 2);
        const out = join(folder, "out");
        const told = await done("export", "--run", path, "--out", out, "--data-dir", ...hosts);
        assert.deepEqual(told, { folder: out, step: 2, stages: [0, 1], missing: [] });
        const weights = await weightsOf(manifest, stages);
        assertSameWeights(await readPlainTensors(out), weights, "F32", 0);

        const again = await begin((await done("import", "--model", out, "--stages", "1")).manifest);
        assert.deepEqual(again.manifest.model, manifest.model);
        assert.deepEqual(again.manifest.tokenizer, manifest.tokenizer);
        assert.equal(again.manifest.sequenceLength, manifest.sequenceLength);
        assert.deepEqual(await weightsOf(again.manifest, again.stages), weights, "to the bit");
        const ids = await greedy(stages, [3, 1, 4], 12);
        assert.deepEqual(await greedy(again.stages, [3, 1, 4], 12), ids);
        const plain = await plainLogits(out, ids);
        assert.equal(plain.indexOf(Math.max(...plain)), (await greedy(stages, ids, 1)).at(-1));
        await again.close();

        for (
          const [type, dtype, relative] of [["bf16", "BF16", 2 ** -8], ["f16", "F16", 2 ** -10]] as const
        ) {
          const narrow = join(folder, type);
          await done("export", "--run", path, "--out", narrow, "--data-dir", ...hosts, "--type", type);
          assertSameWeights(await readPlainTensors(narrow), weights, dtype, relative);
        }
        await close();
      } finally {
        await Deno.remove(model, { recursive: true });
      }
    }));
}

Deno.test("a run of random weights is exported after training, its tokenizer of bytes as a file", () =>
  inFolder(async (folder) => {
    const path = join(folder, "run.json");
    await Deno.writeTextFile(
      path,
      JSON.stringify({
        version: 1,
        name: "bytes",
        model: { vocabulary: 256, width: 8, layers: 2, heads: 2 },
        stages: 1,
        sequenceLength: 8,
        sequencesPerMicroBatch: 1,
        microBatchesPerStep: 1,
        steps: 2,
      }),
    );
    const { manifest, stages, close } = await trained(path, [join(folder, "host")], 2);
    const out = join(folder, "out");
    await done("export", "--run", path, "--out", out, "--data-dir", join(folder, "host"));
    const names = (await Array.fromAsync(Deno.readDir(out))).map(({ name }) => name).sort();
    assert.deepEqual(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    const again = await begin((await done("import", "--model", out)).manifest);
    assert.deepEqual(await weightsOf(again.manifest, again.stages), await weightsOf(manifest, stages));
    await again.close();
    await close();
  }));

Deno.test("stages may be exported one by one, of one step only, and nothing is replaced", () =>
  inFolder(async (folder) => {
    const model = await publishedFolder({ config: CONFIGS.Qwen2 });
    try {
      const { manifest: path } = await done("import", "--model", model, "--stages", "2");
      const [one, two, later, out] = ["one", "two", "later", "out"].map((name) => join(folder, name));
      const { close } = await trained(path, [one, two], 1);
      await (await trained(path, [later], 2)).close();
      await close();

      const refused = async (message: RegExp, ...args: string[]) => {
        const { code, stdout, stderr } = await run("export", "--run", path, ...args);
        assert.ok(code === 1 || code === 2, `exit code ${code}`);
        assert.equal(stdout, "");
        assert.match(stderr, message);
      };
      await refused(/Cannot export stage 0: no snapshot of it in/, "--out", out, "--data-dir", two);
      await refused(/run .* has stages 0 to 1/, "--out", out, "--data-dir", one, "--stage", "2");
      const first = await done("export", "--run", path, "--out", out, "--data-dir", one, "--stage", "0");
      assert.deepEqual(first.missing, ["model-00002-of-00002.safetensors"]);
      await refused(
        /00001-of-00002\.safetensors is there already/,
        "--out",
        out,
        "--data-dir",
        one,
        "--stage",
        "0",
      );
      await refused(/config\.json is there already/, "--out", out, "--data-dir", later, "--stage", "1");
      await refused(
        /index\.json is there already, and of something else/,
        "--out",
        model,
        "--data-dir",
        one,
        two,
      );
      const second = await done("export", "--run", path, "--out", out, "--data-dir", two, "--stage", "1");
      assert.deepEqual(second.missing, []);
      const other = await done(
        "export",
        "--run",
        path,
        "--out",
        join(folder, "both"),
        "--data-dir",
        one,
        two,
        later,
      );
      assert.equal(other.step, 2, "the newest step that all stages have");
      const names = (await Array.fromAsync(Deno.readDir(out))).map(({ name }) => name);
      assert.deepEqual(names.filter((name) => name.endsWith(".writing")), []);
      await refused(
        /snapshots are of other steps/,
        "--out",
        join(folder, "x"),
        "--data-dir",
        one,
        await without(later),
      );
    } finally {
      await Deno.remove(model, { recursive: true });
    }
  }));

/** The same data folder, but for its first stage. */
async function without(dataDir: string): Promise<string> {
  const [{ name }] = await Array.fromAsync(Deno.readDir(join(dataDir, "snapshots")));
  await Deno.remove(join(dataDir, "snapshots", name, "stage-0"), { recursive: true });
  return dataDir;
}

Deno.test("a snapshot that is damaged, or that nobody vouches for, is not exported", () =>
  inFolder(async (folder) => {
    const model = await publishedFolder({ config: CONFIGS.Mistral });
    try {
      const { manifest: path } = await done("import", "--model", model);
      const host = join(folder, "host");
      const { manifest, stages, close } = await trained(path, [host], 1);
      const out = join(folder, "out");
      const [{ name }] = await Array.fromAsync(Deno.readDir(join(host, "snapshots")));
      const file = join(host, "snapshots", name, "stage-0", "snapshot-000000001.state");
      const bytes = await Deno.readFile(file);
      const data = bytes.indexOf(0x0a) + 100;
      await Deno.writeFile(file, bytes.with(data, bytes[data] ^ 1));
      const damaged = await run("export", "--run", path, "--out", out, "--data-dir", host);
      assert.equal(damaged.code, 1);
      assert.match(damaged.stderr, /piece 0 has another hash than the one named/);
      assert.deepEqual(await Array.fromAsync(Deno.readDir(out)), [], "nothing is left behind");

      const { manifest: state, bytes: content } = await stages[0].exportState();
      const proof = { replicas: ["nobody"], votes: [{ peer: "nobody", signature: "00" }] };
      const stranger = join(folder, "stranger");
      await new SnapshotFolder(join(stranger, "snapshots"), manifest, () => {}).save(
        0,
        state,
        content,
        proof,
      );
      const unproved = await run("export", "--run", path, "--out", out, "--data-dir", stranger);
      assert.equal(unproved.code, 1);
      assert.match(
        unproved.stderr,
        /Passing over .*: Cannot believe state .* 0 of its 1 replicas have signed it/,
      );
      await close();
    } finally {
      await Deno.remove(model, { recursive: true });
    }
  }));

Deno.test("real hosts of all stages give the whole model away", async () => {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "murmuration-swarm-" }));
  try {
    const path = join(REPOSITORY, "runs", "tiny.json");
    const data = join(folder, "text");
    await Deno.writeTextFile(data, await collectText(join(REPOSITORY, "run"), 20_000));
    await using swarm = await LocalSwarm.start({
      run: path,
      folder,
      device: "onnx",
      threads: 1,
      clock: new RealClock(),
    });
    await Promise.all([swarm.startHost(0), swarm.startHost(1), swarm.startHost(1)]);
    await Array.fromAsync(swarm.train(data, join(folder, "output"), ["--steps", "11"]));
    const out = join(folder, "model");
    const flags = [
      "--run",
      path,
      "--bootstrap",
      swarm.address,
      "--listen",
      "/ip4/127.0.0.1/tcp/0",
      "--out",
      out,
    ];
    const told = await done("export", ...flags, "--type", "bf16");
    assert.deepEqual([told.stages, told.missing], [[0, 1], []]);
    assert.ok(told.step === 11 || told.step === 10, "the last step, or the last that is on every disk");
    const { murmuration } = JSON.parse(await Deno.readTextFile(join(out, "config.json")));
    assert.equal(murmuration.step, told.step);
    const again = await run("export", ...flags);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /Cannot export: .* is there already/);
    const manifest = await readManifest((await done("import", "--model", out)).manifest);
    assert.deepEqual(manifest.model, (await readManifest(path)).model);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
