import assert from "node:assert/strict";
import { join } from "node:path";
import { type HostTensor, ReferenceDevice } from "../kernels/mod.ts";
import { partition } from "../run/mod.ts";
import { CompiledStage, stageLayout } from "../stages/mod.ts";
import { readChatTemplate, readManifest, readTokenizer } from "./manifest_file.ts";
import { plainLogits } from "./testing/plain_model.ts";
import { CONFIGS, publishedFolder } from "./testing/published_folder.ts";
import { beginWithWeights, weightFiles } from "./weight_files.ts";

const CONFIG = CONFIGS.Qwen3;
const modelFolder = () => publishedFolder({ config: CONFIG });

/** The command as a person runs it. */
async function importModel(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", new URL("./import.ts", import.meta.url).pathname, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Opens a stage of the run, and begins it. */
async function begin(run: string, index: number) {
  const manifest = await readManifest(run);
  const device = new ReferenceDevice();
  const stage = await CompiledStage.create({ device, manifest, index });
  try {
    const { stateHash } = await (await beginWithWeights(stage, run, manifest)).describeState();
    return { index: stage.index, stateHash };
  } finally {
    await stage.close();
    await device.close();
  }
}

Deno.test("a published model becomes a run whose hosts begin with its weights, and with no others", async () => {
  const folder = await modelFolder();
  try {
    const made = await importModel("--model", folder, "--stages", "2", "--name", "tiny qwen", "--json");
    assert.equal(made.code, 0, made.stderr);
    const { manifest: run, stages } = JSON.parse(made.stdout);
    const manifest = await readManifest(run);
    assert.equal(manifest.name, "tiny qwen");
    assert.equal(manifest.sequenceLength, 32);
    assert.equal(manifest.model.queryKeyNorm, true);
    assert.deepEqual(
      stages.map(({ parameters }: { parameters: number }) => parameters),
      partition(manifest).map((slice) => stageLayout(manifest.model, slice).size),
    );
    assert.equal(weightFiles(run, manifest).length, 2);
    assert.ok(manifest.weights.kind === "safetensors");
    for (const [index, stateHash] of manifest.weights.states.entries()) {
      assert.deepEqual(await begin(run, index), { index, stateHash });
    }

    const shard = join(folder, "model-00002-of-00002.safetensors");
    const bytes = await Deno.readFile(shard);
    bytes[bytes.length - 1] ^= 1;
    await Deno.writeFile(shard, bytes);
    await begin(run, 0);
    await assert.rejects(
      begin(run, 1),
      /Cannot begin stage 1: its weights have state hash \w+, the manifest names/,
    );
    await Deno.remove(shard);
    await begin(run, 0);
    const { stateHash } = await begin(run, 1);
    assert.notEqual(stateHash, manifest.weights.states[1], "what is not here is left to its host to fetch");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a model may be asked for longer sequences than it was taught, and is told of", async () => {
  const folder = await modelFolder();
  try {
    const { code, stdout, stderr } = await importModel(
      "--model",
      folder,
      "--sequence-length",
      "64",
      "--json",
    );
    assert.equal(code, 0, stderr);
    assert.match(stderr, /the model was taught 32/);
    const manifest = await readManifest(JSON.parse(stdout).manifest);
    assert.equal(manifest.sequenceLength, 64);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what can't become a run is refused in one line, and nothing is written", async () => {
  const folder = await modelFolder();
  try {
    const refused = async (message: RegExp, ...args: string[]) => {
      const { code, stdout, stderr } = await importModel("--model", folder, ...args);
      assert.ok(code === 1 || code === 2, `exit code ${code}`);
      assert.equal(stdout, "");
      assert.match(stderr, message);
    };
    await refused(/stages: found 3, expected at most model\.layers 2/, "--stages", "3");
    const write = (name: string, content: unknown) =>
      Deno.writeTextFile(join(folder, name), JSON.stringify(content));
    await write("config.json", { ...CONFIG, hidden_size: 14 });
    await refused(/model\.embed_tokens\.weight has shape \[8, 12\], expected \[8, 14\]/);
    await write("config.json", { ...CONFIG, model_type: "gpt2" });
    await refused(/model_type is "gpt2"/);
    await write("config.json", CONFIG);
    await write("model.safetensors.index.json", [7]);
    await refused(/it is no index of weights/);
    for (const outside of ["../x.safetensors", "/etc/passwd", "a/../../x", ""]) {
      await write("model.safetensors.index.json", { weight_map: { x: outside } });
      await refused(/weights\.files\[0\]: found .*, expected a path inside the manifest's folder/);
    }
    await write("model.safetensors.index.json", { weight_map: { x: "model-00001-of-00002.safetensors" } });
    await refused(/there is no model\.layers\.0\.|there is no model\.layers\.1\./);
    const shard = join(folder, "model-00001-of-00002.safetensors");
    const bytes = await Deno.readFile(shard);
    await Deno.writeFile(shard, bytes.subarray(0, -1));
    await refused(/tensor .* lies at \d+ to \d+, outside of the file/);
    await Deno.writeFile(shard, bytes.with(6, 1));
    await refused(/header of \d+ bytes, expected at most/);
    await Deno.writeFile(shard, bytes.subarray(0, 7));
    await refused(/of-00002\.safetensors: 7 bytes are no header/);
    await Deno.writeTextFile(join(folder, "chat_template.jinja"), "{% if %}");
    await refused(/Cannot read the chat template/);
    await Deno.writeTextFile(join(folder, "tokenizer_config.json"), "{");
    await refused(/Cannot read tokenizer_config\.json/);
    await Deno.writeTextFile(join(folder, "generation_config.json"), "{");
    await refused(/Cannot read generation_config\.json: it is no JSON/);
    await Deno.remove(join(folder, "tokenizer.json"));
    await refused(/there is no tokenizer\.json/);
    assert.deepEqual(
      (await Array.fromAsync(Deno.readDir(folder))).filter(({ name }) => name === "run.json"),
      [],
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the template of chats and the ends of texts come along, each by its hash", async () => {
  const folder = await modelFolder();
  try {
    const write = (name: string, content: string) => Deno.writeTextFile(join(folder, name), content);
    await write("tokenizer_config.json", JSON.stringify({ eos_token: "b", chat_template: "in config" }));
    await write("generation_config.json", JSON.stringify({ eos_token_id: [1, 2] }));
    const imported = async () => {
      const { code, stdout, stderr } = await importModel("--model", folder, "--json");
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout).manifest as string;
    };
    const render = async (run: string) =>
      (await readChatTemplate(run, await readManifest(run))).render([{ role: "user", content: "hi" }]);
    const run = await imported();
    assert.equal(await render(run), "in config");
    assert.deepEqual((await readTokenizer(run, await readManifest(run))).endOfText, [1, 2]);
    await write("chat_template.jinja", "{{ messages[0].content }}, {{ eos_token }}");
    assert.equal(await render(run), "in config", "what the manifest does not name is not read");
    assert.equal(await render(await imported()), "hi, b");
    await write("chat_template.jinja", "another");
    await assert.rejects(render(run), /chat_template\.jinja: its SHA-256 is/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Logits of what follows these ids, through the stages of an imported run. */
async function logitsOf(run: string, ids: readonly number[]): Promise<Float32Array> {
  const manifest = await readManifest(run);
  let input: HostTensor = { dataType: "i32", shape: [1, ids.length], data: Int32Array.from(ids) };
  await using device = { it: new ReferenceDevice(), [Symbol.asyncDispose]: () => device.it.close() };
  for (const { index } of partition(manifest)) {
    const stage = await beginWithWeights(
      await CompiledStage.create({ device: device.it, manifest, index }),
      run,
      manifest,
    );
    const result = await stage.forward("it", input, undefined, { keep: false });
    await stage.close();
    if (result.kind === "logits") return result.logits.data as Float32Array;
    assert.ok(result.kind === "activation");
    input = result.activation;
  }
  throw new Error("no logits");
}

for (const [family, config] of Object.entries(CONFIGS)) {
  const type = family === "Mistral" ? "F32" : "BF16";
  Deno.test(`a ${family} of ${type} answers, cut in two, as plain loops over its folder do`, async () => {
    const folder = await publishedFolder({ config, type, shards: family === "Mistral" ? 1 : 3 });
    try {
      const { code, stdout, stderr } = await importModel("--model", folder, "--stages", "2", "--json");
      assert.equal(code, 0, stderr);
      const ids = [3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 0, 7, 1, 7, 3, 2, 3, 4, 6];
      const expected = await plainLogits(folder, ids);
      const logits = await logitsOf(JSON.parse(stdout).manifest, ids);
      assert.equal(logits.length, expected.length);
      logits.forEach((logit, i) =>
        assert.ok(Math.abs(logit - expected[i]) < 2e-5, `${logit}, ${expected[i]}`)
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
