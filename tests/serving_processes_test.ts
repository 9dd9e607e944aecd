/**
 * A published model, cut into stages that real processes hold, each in its box and
 * none with a trainer: a text is what one process would make of it, also when a host
 * of its path is killed in the middle.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { GenerateEvent } from "../cli/generate_event.ts";
import type { LocalHost, LocalSwarm } from "../cli/local_swarm.ts";
import { GREEDY } from "../run/mod.ts";
import { importModel, lettersFolder, soloIds, withHosts } from "./served_model.ts";

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

const TOKENS = 110;

Deno.test("2 stages × 2 processes without a trainer make of a text what one process does, through two deaths", async () => {
  const folder = await lettersFolder();
  try {
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
