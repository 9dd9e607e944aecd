import assert from "node:assert/strict";
import { join } from "node:path";
import type { RunEvent } from "../actors/report.ts";
import { Failure } from "./arguments.ts";
import { REPOSITORY } from "./box.ts";
import { collectText } from "./corpus.ts";
import type { LocalSwarm } from "./local_swarm.ts";
import { readMetrics } from "./metrics.ts";
import { withRunningSwarm } from "./testing/running_swarm.ts";

const run = join(REPOSITORY, "runs", "tiny.json");

/** A swarm of real processes for the tiny run, and a text for it; all of it is gone afterwards. */
async function withSwarm(test: (swarm: LocalSwarm, folder: string, data: string) => Promise<void>) {
  await withRunningSwarm(run, async (swarm, folder) => {
    const data = join(folder, "text");
    await Deno.writeTextFile(data, await collectText(join(REPOSITORY, "run"), 20_000));
    await test(swarm, folder, data);
  });
}

Deno.test("real processes, boxed hosts among them, train through a kill, resume and generate", async () => {
  await withSwarm(async (swarm, folder, data) => {
    const output = join(folder, "output");
    const events: RunEvent[] = [];
    const victim = await swarm.startHost(1);
    await Promise.all([swarm.startHost(0), swarm.startHost(1)]);

    let killed = Promise.resolve();
    for await (const event of swarm.train(data, output, ["--steps", "4"])) {
      events.push(event);
      if (event.kind === "step" && event.step === 2) killed = victim.kill();
    }
    await killed;
    const stepsOf = (events: readonly RunEvent[]) => events.filter((event) => event.kind === "step");
    assert.deepEqual(stepsOf(events).map(({ step }) => step), [1, 2, 3, 4]);
    assert.equal(events.at(-1)?.kind, "done");
    for (const { tokens, loss } of stepsOf(events)) {
      assert.equal(tokens, 2 * 2 * 16, "every micro-batch counts once");
      assert.ok(loss > 0 && loss < 10);
    }
    assert.deepEqual(await readMetrics(join(output, "metrics.jsonl")), events);

    for await (const event of swarm.train(data, output, ["--steps", "6", "--resume"])) events.push(event);
    assert.deepEqual(stepsOf(events).map(({ step }) => step), [1, 2, 3, 4, 5, 6]);
    assert.match(await Deno.readTextFile(join(output, "loss.svg")), /<svg[\s\S]*6 steps/);

    const flags = ["--tokens", "5", "--seed", "1"];
    const text = await swarm.generate("import ", flags);
    assert.ok(text.startsWith("import ") && text.length > "import ".length);
    assert.equal(await swarm.generate("import ", flags), text, "the same seed draws the same text");
  });
});

Deno.test("what a command complains of comes out with its exit code", async () => {
  await withSwarm(async (swarm, folder) => {
    const training = swarm.train(join(folder, "missing"), join(folder, "output"));
    await assert.rejects(training.next(), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.message, /code 2\n.*Cannot use data .*missing: there is no such file/);
      return true;
    });
  });
});
