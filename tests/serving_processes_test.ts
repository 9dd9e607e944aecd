/**
 * A published model, cut into stages that real processes hold, each in its box and
 * none with a trainer: a text is what one process would make of it, also when a host
 * of its path is killed in the middle.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { RealClock } from "../actors/core/real_clock.ts";
import type { GenerateEvent } from "../cli/generate_event.ts";
import { type LocalHost, LocalSwarm } from "../cli/local_swarm.ts";
import { readManifest, readTokenizer } from "../cli/manifest_file.ts";
import { CONFIGS, publishedFolder } from "../cli/testing/published_folder.ts";
import { beginWithWeights } from "../cli/weight_files.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { GREEDY, partition, type Sampling } from "../run/mod.ts";
import { CompiledStage, continueSolo } from "../stages/mod.ts";

/** Makes a run of a model's folder, as a person does. @returns its manifest's path. */
async function importModel(folder: string, stages: number, ...more: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "-A",
      new URL("../cli/import.ts", import.meta.url).pathname,
      ...["--model", folder, "--stages", String(stages), "--json", ...more],
    ],
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout)).manifest;
}

/** What one process makes of a text: the truth. */
async function soloIds(run: string, prompt: string, tokens: number, sampling: Sampling): Promise<number[]> {
  const manifest = await readManifest(run);
  const tokenizer = await readTokenizer(run, manifest);
  await using device = { it: new OnnxDevice(), [Symbol.asyncDispose]: () => device.it.close() };
  const stages: CompiledStage[] = [];
  try {
    for (const { index } of partition(manifest)) {
      const stage = await CompiledStage.create({ device: device.it, manifest, index });
      await beginWithWeights(stage, run, manifest);
      stages.push(stage);
    }
    const drawn = await Array.fromAsync(continueSolo({
      stages,
      key: "truth",
      prompt: tokenizer.encode(prompt),
      tokens,
      sampling: { ...sampling, vocabulary: tokenizer.vocabulary },
    }));
    return drawn.map(({ token }) => token);
  } finally {
    for (const stage of stages) await stage.close();
  }
}

/** A swarm without a trainer: as many hosts of each stage as are wanted. */
async function withHosts(
  { run, replicas }: { readonly run: string; readonly replicas: readonly number[] },
  test: (swarm: LocalSwarm, hosts: readonly LocalHost[]) => Promise<void>,
): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "murmuration-serving-" }));
  try {
    await using swarm = await LocalSwarm.start({
      run,
      folder,
      device: "onnx",
      threads: 1,
      clock: new RealClock(),
    });
    const stages = replicas.flatMap((count, stage) => Array<number>(count).fill(stage));
    await test(swarm, await Promise.all(stages.map((stage) => swarm.startHost(stage))));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

interface Answer {
  readonly ids: readonly number[];
  readonly repairs: readonly Extract<GenerateEvent, { kind: "repaired" }>[];
}

/** Has a text continued. @param onToken called with each token, and who computed it. */
async function answerOf(
  swarm: LocalSwarm,
  prompt: string,
  flags: readonly string[],
  onToken: (count: number, path: readonly string[]) => Promise<void> = () => Promise.resolve(),
): Promise<Answer> {
  const ids: number[] = [];
  const repairs: Extract<GenerateEvent, { kind: "repaired" }>[] = [];
  let path: readonly string[] = [];
  for await (const event of swarm.generateTokens(prompt, flags)) {
    if (event.kind === "placed") path = event.path;
    if (event.kind === "repaired") {
      repairs.push(event);
      path = event.path;
    }
    if (event.kind !== "token") continue;
    ids.push(event.token);
    await onToken(ids.length, path);
  }
  return { ids, repairs };
}

/** Kills the host of that stage, once so many tokens have come. */
function killing(hosts: readonly LocalHost[], stage: number, after: number) {
  const killed: LocalHost[] = [];
  return {
    killed,
    onToken: async (count: number, path: readonly string[]) => {
      if (count !== after) return;
      killed.push(hosts.find(({ peer }) => peer === path[stage])!);
      await killed[0].kill();
    },
  };
}

/** As many letters, so that a text can be anything. */
const LETTERS = {
  version: "1.0",
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  model: {
    type: "BPE",
    unk_token: null,
    vocab: Object.fromEntries(Array.from("abcdefghijklmnopqrstuvwxyz ", (letter, id) => [letter, id])),
    merges: [],
  },
};

const TOKENS = 110;

Deno.test("2 stages × 2 processes without a trainer make of a text what one process does, through two deaths", async () => {
  const config = {
    ...CONFIGS["Llama 3"],
    hidden_size: 32,
    head_dim: 8,
    intermediate_size: 48,
    num_hidden_layers: 4,
    vocab_size: 32,
    max_position_embeddings: 128,
  };
  const folder = await publishedFolder({ config });
  try {
    await Deno.writeTextFile(join(folder, "tokenizer.json"), JSON.stringify(LETTERS));
    const run = await importModel(folder, 2);
    const prompt = "once upon a time";
    const drawn = { ...GREEDY, temperature: 1.3, topP: 0.95, repetitionPenalty: 1.1, seed: 7 };
    const greedy = await soloIds(run, prompt, TOKENS, GREEDY);
    const seeded = await soloIds(run, prompt, TOKENS, drawn);
    assert.ok(new Set(seeded).size > 5, "a text worth comparing");
    await withHosts({ run, replicas: [2, 2] }, async (swarm, hosts) => {
      const greedily = ["--tokens", String(TOKENS), "--temperature", "0"];
      const calm = await answerOf(swarm, prompt, greedily);
      assert.deepEqual(calm, { ids: greedy, repairs: [] });

      const last = killing(hosts, 1, 5);
      const first = await answerOf(swarm, prompt, greedily, last.onToken);
      assert.deepEqual(first.ids, greedy);
      assert.deepEqual(first.repairs.map(({ blamed }) => blamed), [[last.killed[0].peer]]);

      const flags = ["--temperature", "1.3", "--top-p", "0.95", "--repetition-penalty", "1.1", "--seed", "7"];
      const head = killing(hosts, 0, 5);
      const second = await answerOf(swarm, prompt, ["--tokens", String(TOKENS), ...flags], head.onToken);
      assert.deepEqual(second.ids, seeded);
      assert.deepEqual(second.repairs.map(({ blamed }) => blamed), [[head.killed[0].peer]]);
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const PUBLISHED = new URL("../../shared/models/aidreams-260k/", import.meta.url);
const greedy: { readonly ids: readonly number[] } | undefined = await Deno.readTextFile(
  new URL("greedy.json", PUBLISHED),
).then(JSON.parse, () => undefined);

for (const stages of [2, 4]) {
  Deno.test({
    name: `a published model in ${stages} stages decodes the ids of another implementation, through a death` +
      (greedy ? "" : " (its files are not here)"),
    ignore: greedy === undefined,
    async fn() {
      const folder = await Deno.makeTempDir({ prefix: "murmuration-published-" });
      try {
        for (const file of ["config.json", "model.safetensors", "tokenizer.json"]) {
          await Deno.copyFile(new URL(file, PUBLISHED), join(folder, file));
        }
        // The other implementation went on beyond what the model was taught.
        const run = await importModel(folder, stages, "--sequence-length", "256");
        const victim = stages >> 1;
        const replicas = Array.from({ length: stages }, (_, stage) => stage === victim ? 2 : 1);
        await withHosts({ run, replicas }, async (swarm, hosts) => {
          const flags = ["--tokens", "200", "--temperature", "0"];
          const kill = killing(hosts, victim, 20);
          const { ids, repairs } = await answerOf(swarm, "<s>", flags, kill.onToken);
          assert.deepEqual(ids, greedy!.ids);
          assert.deepEqual(repairs.map(({ blamed }) => blamed), [[kill.killed[0].peer]]);
        });
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
