import assert from "node:assert/strict";
import { type Outcome, RealPerformer } from "./performer.ts";
import { SimulatedPerformer } from "./simulated_performer.ts";
import { VirtualClock } from "./virtual_clock.ts";

const work = { kind: "forward", amount: 1 };

Deno.test("real work ends in the order of its completion, and idle waits for all of it", async () => {
  const performer = new RealPerformer();
  const slow = Promise.withResolvers<string>();
  const quick = Promise.withResolvers<string>();
  const outcomes: Outcome<string>[] = [];
  performer.perform(work, () => slow.promise, (outcome) => outcomes.push(outcome));
  performer.perform(work, () => quick.promise, (outcome) => outcomes.push(outcome));
  performer.perform(
    work,
    () => {
      throw new Error("at once");
    },
    (outcome: Outcome<string>) => outcomes.push(outcome),
  );
  assert.equal(outcomes.length, 0, "nothing ends before perform returns");
  assert.equal(performer.running, 3);
  quick.resolve("quick");
  await quick.promise;
  slow.reject(new Error("slow"));
  await performer.idle();
  assert.equal(performer.running, 0);
  assert.deepEqual(
    outcomes.map((outcome) => outcome.ok ? outcome.value : (outcome.error as Error).message),
    ["at once", "quick", "slow"],
  );
});

Deno.test("simulated work of one lane queues up; lanes and peers don't wait for each other", async () => {
  const clock = new VirtualClock();
  const jobs: (() => Promise<void>)[] = [];
  const performer = new SimulatedPerformer("peer", clock, {
    durationMs: (_peer, work) => work.amount,
    lane: (_peer, work) => work.kind === "lookup" ? undefined : work.kind,
  }, (job) => jobs.push(job));
  const ended: string[] = [];
  const start = (kind: string, amount: number) =>
    performer.perform(
      { kind, amount },
      () => Promise.resolve(),
      () => ended.push(`${kind} at ${clock.nowMs()}`),
    );
  start("compute", 10);
  start("compute", 5);
  start("disk", 12);
  start("lookup", 2);
  start("lookup", 2);
  for (const job of jobs.splice(0)) await job();
  assert.deepEqual(ended, []);
  clock.advanceTo(100);
  assert.deepEqual(ended, [
    "lookup at 2",
    "lookup at 2",
    "compute at 10",
    "disk at 12",
    "compute at 15",
  ]);
  start("compute", 1);
  for (const job of jobs.splice(0)) await job();
  clock.advanceTo(200);
  assert.equal(ended.at(-1), "compute at 101", "a lane that was free starts at once");
});

Deno.test("a cost that is no duration is a mistake", () => {
  for (const durationMs of [NaN, -1, Infinity]) {
    const performer = new SimulatedPerformer(
      "peer",
      new VirtualClock(),
      { durationMs: () => durationMs, lane: () => undefined },
      () => {},
    );
    assert.throws(
      () => performer.perform(work, () => Promise.resolve(), () => {}),
      /Cannot perform forward: its cost is/,
    );
  }
});
