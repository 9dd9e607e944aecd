import assert from "node:assert/strict";
import type { Context } from "./core/actor.ts";
import { KeptText } from "./kept_text.ts";
import type { Message, MessageOf } from "./messages.ts";
import { Jobs } from "./role.ts";

/** A text of a counter, on a disk whose every access ends when the test says so. */
function counting(kept?: string) {
  const performed: (() => Promise<void>)[] = [];
  const context: Pick<Context<Message>, "perform"> = {
    perform: (_work, run, failed) => {
      performed.push(async () => {
        const { job, outcome } = await run().catch(failed!) as MessageOf<"performed">;
        jobs.end(job, outcome);
      });
    },
  };
  const jobs = new Jobs(context as Context<Message>);
  const saved: string[] = [];
  const failures: unknown[] = [];
  const state = { count: 0, isFull: false };
  const text = new KeptText(
    jobs,
    {
      load: () => kept === "torn" ? Promise.reject(new Error("torn")) : Promise.resolve(kept),
      save: (text) => {
        if (state.isFull) return Promise.reject(new Error("full"));
        saved.push(text);
        return Promise.resolve();
      },
    },
    () => `${state.count}`,
    (error) => failures.push(error),
  );
  const change = (count: number) => {
    state.count = count;
    text.save();
  };
  return { text, saved, failures, state, change, performed, next: () => performed.shift()!() };
}

Deno.test("nothing is written before the old text was read; then the newest state, one write at a time", async () => {
  const { text, saved, change, performed, next } = counting("old");
  let found: string | undefined;
  text.load((text) => found = text);
  change(1);
  assert.equal(performed.length, 1);
  await next();
  assert.equal(found, "old");
  change(2);
  change(3);
  assert.equal(performed.length, 1);
  await next();
  await next();
  assert.deepEqual(saved, ["1", "3"]);
  assert.equal(performed.length, 0);
});

Deno.test("a write that fails is told, and the next change is written", async () => {
  const { text, saved, failures, state, change, next } = counting();
  text.load(() => {});
  await next();
  state.isFull = true;
  await next();
  assert.match(String(failures), /full/);
  state.isFull = false;
  change(4);
  await next();
  assert.deepEqual(saved, ["4"]);
});

Deno.test("a text that can't be read crashes its role, rather than be written over", async () => {
  const { text, next } = counting("torn");
  text.load(() => assert.fail("nothing was read"));
  await assert.rejects(next(), /torn/);
});
