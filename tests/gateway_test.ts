/**
 * A gateway before real processes: OpenAI's own client asks a swarm over libp2p on
 * loopback, and gets what one process would have said, also when a host dies in
 * the middle of an answer.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import OpenAI from "openai";
import { RealClock } from "../actors/core/real_clock.ts";
import { LocalSwarm } from "../cli/local_swarm.ts";
import { type HostTensor, ReferenceDevice } from "../kernels/mod.ts";
import { byteTokenizer, type Manifest } from "../run/mod.ts";
import { createStages } from "../stages/mod.ts";
import { tinyManifest } from "./data.ts";
import { StoppedProcess } from "./stopped_process.ts";

const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"].map((letter) => letter.charCodeAt(0));

/** Makes letters so likely that an untrained model says nothing else. */
const LETTERS_ALONE = Object.fromEntries(LETTERS.map((letter) => [letter, 100]));

/** What one process would go on with, always the likeliest letter. */
async function greedyText(manifest: Manifest, prompt: string, count: number): Promise<string> {
  const device = new ReferenceDevice();
  const stages = await createStages(device, manifest);
  const ids = [...byteTokenizer.encode(prompt)];
  for (let added = 0; added < count; added++) {
    let values: HostTensor = { dataType: "i32", shape: [1, ids.length], data: Int32Array.from(ids) };
    for (const stage of stages) {
      const result = await stage.forward("text", values, undefined, { keep: false });
      if (result.kind === "loss") throw new Error("There were no targets");
      values = result.kind === "activation" ? result.activation : result.logits;
    }
    ids.push(LETTERS.reduce((best, letter) => values.data[letter] > values.data[best] ? letter : best));
  }
  await device.close();
  return byteTokenizer.decode(ids.slice(-count));
}

Deno.test("a gateway to real processes answers as one process would, whoever dies", async () => {
  const folder = await Deno.makeTempDir({ prefix: "murmuration-test-" });
  try {
    const manifest = tinyManifest({ stages: 2, sequenceLength: 1024 });
    const run = join(folder, "run.json");
    await Deno.writeTextFile(run, JSON.stringify(manifest));
    await using swarm = await LocalSwarm.start({
      run,
      folder,
      device: "reference",
      threads: 1,
      clock: new RealClock(),
    });
    const [url, , ...last] = await Promise.all([
      swarm.gateway(),
      swarm.startHost(0),
      swarm.startHost(1),
      swarm.startHost(1),
    ]);
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none is asked for", maxRetries: 0 });
    assert.deepEqual((await openai.models.list()).data.map(({ id }) => id), ["tiny"]);

    // Until hosts of every stage are found the gateway says 503, and its client asks again.
    const greedy = await openai.withOptions({ maxRetries: 12 }).completions.create({
      model: "tiny",
      prompt: "one two",
      max_tokens: 16,
      temperature: 0,
      logit_bias: LETTERS_ALONE,
    });
    assert.equal(greedy.choices[0].text, await greedyText(manifest, "one two", 16));
    assert.deepEqual(greedy.usage, { prompt_tokens: 7, completion_tokens: 16, total_tokens: 23 });

    const seeded = {
      model: "tiny",
      messages: [{ role: "user" as const, content: "Count!" }],
      seed: 11,
      max_tokens: 600,
      logit_bias: LETTERS_ALONE,
    };
    const whole = (await openai.chat.completions.create(seeded)).choices[0].message.content!;
    assert.match(whole, /^[a-z]{600}$/);

    // Whichever of the two stands still can't be on the path; the other one then dies in mid-answer.
    const [idle, victim] = last;
    let text = "";
    {
      await using stopped = await StoppedProcess.stop(idle.pid);
      const stream = await openai.chat.completions.create({ ...seeded, stream: true });
      for await (const { choices: [{ delta }] } of stream) {
        if (text === "" && delta.content) {
          await victim.kill();
          await stopped[Symbol.asyncDispose]();
        }
        text += delta.content ?? "";
      }
    }
    assert.equal(text, whole);
    const figures = await (await fetch(`${url}/metrics`)).text();
    assert.match(figures, /^murmuration_session_repairs_total [1-9]/m);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
