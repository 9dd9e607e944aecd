import assert from "node:assert/strict";
import { HELD_WALKS_MAX } from "../actors/limits.ts";
import type { StepUpdate } from "../stages/mod.ts";
import { OneStage } from "./checkers/one_stage.ts";
import { SameData } from "./checkers/same_data.ts";
import type { CountingStage } from "./counting_stage.ts";
import { drawScenario, parseScenario, type Scenario } from "./scenario.ts";
import { type Outcome, play, type WorldOptions } from "./world.ts";

/** A small quiet world in which nothing goes wrong but what a test adds. */
function quiet(change: Partial<Scenario> = {}): Scenario {
  return {
    ...drawScenario(1, []),
    forwardMs: 10,
    backwardMs: 20,
    breakMs: 10_000,
    boundMs: 120_000,
    ...change,
  };
}

async function checkersThatFire(options: WorldOptions, scenario = quiet()): Promise<string[]> {
  const { violations } = await play(scenario, options);
  return [...new Set(violations.map(({ checker }) => checker))];
}

/** Puts another way to do one thing in the place of a stage's own. */
function spoiling(change: (stage: CountingStage, peer: string) => void): WorldOptions {
  return {
    spoil: (stage, peer) => {
      change(stage, peer);
      return stage;
    },
  };
}

Deno.test("a quiet world runs, and no checker fires", async () => {
  const outcome = await play(quiet());
  assert.deepEqual(outcome.violations, []);
  assert.ok(outcome.stepsBeforeHeal > 5);
  assert.equal(outcome.lost, 0);
  assert.ok(outcome.points.at(-1)!.serving.every((hosts) => hosts >= 2));
});

Deno.test("however slow the work is, no walk that is under way is sent again", async () => {
  const { network } = drawScenario(1, []);
  for (const forwardMs of [400, 4000]) {
    const backwardMs = 2 * forwardMs;
    const outcome = await play(quiet({
      forwardMs,
      backwardMs,
      microBatchesPerStep: 64,
      network,
      breakMs: 300 * forwardMs,
      boundMs: 600 * forwardMs,
    }));
    assert.deepEqual([outcome.violations, outcome.replays], [[], 0]);
    assert.ok(outcome.steps >= 2);
  }
});

Deno.test("the same scenario has the same outcome, also after a trip through a file", async () => {
  const scenario = drawScenario(3);
  const strip = ({ points, ...rest }: Outcome) => ({ ...rest, points: points.length });
  const first = strip(await play(scenario));
  assert.deepEqual(strip(await play(parseScenario(JSON.stringify(scenario)))), first);
  assert.notDeepEqual(strip(await play(drawScenario(4))), first);
});

Deno.test("a run waits for a person only when most of those who vouch for it are thrown out, and goes on with them", async () => {
  const hosts = ["0-0", "0-1", "1-0", "1-1", "1-2"].map((name) => ({
    peer: `host-${name}`,
    stage: Number(name[0]),
  }));
  const played = async (...liars: string[]) => {
    const said: string[] = [];
    const { violations, neededPerson, resumedAfterMs } = await play(
      quiet({
        hosts,
        stages: 2,
        faults: liars.map((peer) => ({ kind: "lie", atMs: 9000, forMs: 1000, peer, how: "pieces" })),
      }),
      { onEvent: (event) => event.kind === "waiting" && said.push(event.reason) },
    );
    assert.deepEqual(violations, []);
    return { neededPerson, said: said.some((reason) => /without-quorum/.test(reason)), resumedAfterMs };
  };
  const one = await played("host-1-1");
  assert.deepEqual([one.neededPerson, one.said], [false, false]);
  const three = await played("host-0-1", "host-1-1", "host-1-2");
  assert.deepEqual([three.neededPerson, three.said], [true, true]);
  assert.ok(one.resumedAfterMs! < 10_000 && three.resumedAfterMs! > 60_000);
});

// --- each checker fires when its promise is broken on purpose ---------------------------------------

Deno.test("a micro-batch that is counted twice is seen", async () => {
  const options = spoiling((stage, peer) => {
    const { gradientSum } = stage;
    stage.gradientSum = async () => {
      const sum = await gradientSum.call(stage);
      if (peer === "host-0-1" && sum[0] === 1) sum[0]++;
      return sum;
    };
  });
  assert.deepEqual(await checkersThatFire(options), ["exactly once"]);
});

Deno.test("a micro-batch that is lost is seen", async () => {
  const options = spoiling((stage) => {
    const { backward } = stage;
    let left = 1;
    stage.backward = (key, gradient, { accumulate }) =>
      backward.call(stage, key, gradient, { accumulate: accumulate && left-- <= 0 });
  });
  assert.deepEqual(await checkersThatFire(options), ["exactly once"]);
});

Deno.test("a replica that strays is seen", async () => {
  const options = spoiling((stage, peer) => {
    const { apply } = stage;
    stage.apply = (update: StepUpdate) =>
      apply.call(stage, peer === "host-0-1" ? { ...update, learningRate: 2 * update.learningRate } : update);
  });
  assert.deepEqual(await checkersThatFire(options), ["same bits"]);
});

Deno.test("a step of one trainer's data at one stage, and of another's at the next, is seen", () => {
  const seen: string[] = [];
  const checker = new SameData(({ words }) => seen.push(words));
  const sum = { step: 3, counts: Float32Array.of(1, 1), strays: 0, check: 0 };
  checker.applied("host-0", { ...sum, stage: 0, corpora: Float32Array.of(1, 2) });
  checker.applied("host-1", { ...sum, stage: 1, corpora: Float32Array.of(1, 2) });
  assert.deepEqual(seen, []);
  checker.applied("host-2", { ...sum, stage: 2, corpora: Float32Array.of(1, 1) });
  assert.deepEqual(seen, [
    "of step 3 host-2 of stage 2 has applied data 1 1, and host-0 of stage 0 has applied data 1 2",
  ]);
});

Deno.test("a host that holds two stages, or counts for two, is seen", () => {
  const seen: string[] = [];
  const checker = new OneStage(({ words }) => seen.push(words));
  checker.opened("host", 1);
  checker.closed("host", 1);
  checker.opened("host", 2);
  checker.counted("host", { step: 4, stage: 2, microBatch: 0, check: 0 });
  checker.gone("host");
  checker.opened("host", 0);
  checker.counted("host", { step: 4, stage: 0, microBatch: 0, check: 0 });
  assert.deepEqual(seen, []);
  checker.opened("host", 1);
  checker.counted("host", { step: 4, stage: 1, microBatch: 0, check: 0 });
  assert.deepEqual(seen, ["host holds stages 0 and 1 at once", "host counted for stages 0 and 1 in step 4"]);
});

Deno.test("a stage that keeps more than it may is seen", async () => {
  const options = spoiling((stage) =>
    Object.defineProperty(stage, "kept", { get: () => HELD_WALKS_MAX + 1 })
  );
  assert.deepEqual(await checkersThatFire(options), ["within bounds"]);
});

Deno.test("a run that doesn't go on after the heal is seen", async () => {
  let broken = false;
  const options = spoiling((stage) => {
    const { apply } = stage;
    stage.apply = (update) => {
      if (stage.index !== 1) return apply.call(stage, update);
      // Also the steps that the run goes back to.
      broken ||= stage.step >= 4;
      return broken ? Promise.reject(new RangeError("out of memory")) : apply.call(stage, update);
    };
  });
  assert.deepEqual(await checkersThatFire(options), ["progress"]);
});

Deno.test("an actor that crashes is seen", async () => {
  const options = spoiling((stage, peer) => {
    if (peer === "host-0-1") stage.describeState = () => Promise.reject(new Error("a bug"));
  });
  assert.deepEqual(await checkersThatFire(options), ["no crash"]);
});
