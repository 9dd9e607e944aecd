/**
 * Texts that a whole swarm continues: hosts die, are full, leave and train at the
 * same time, and every text is exactly what its prompt leads to. In the end nobody
 * keeps anything.
 */

import assert from "node:assert/strict";
import { STANDALONE_LOOK_MS, STANDALONE_MS } from "../actors/limits.ts";
import type { ReaderPeer } from "../actors/assemble.ts";
import type { MessageOf } from "../actors/messages.ts";
import { GREEDY, type Sampling } from "../run/mod.ts";
import { countingData, countingManifest } from "../sim/counting_run.ts";
import { countingText } from "../sim/counting_sessions.ts";
import { type AppliedSum, CountingStage } from "../sim/counting_stage.ts";
import { SimulatedSwarm, type SwarmOptions } from "../sim/swarm.ts";
import type { SessionRun } from "../stages/mod.ts";

const STAGES = 3;
const VOCABULARY = 256;
const SEQUENCE_LENGTH = 1024;
const MICRO_BATCHES = 6;

interface Texts {
  readonly swarm: SimulatedSwarm;
  readonly sums: AppliedSum[];
  /** What each stage was given, in order. */
  readonly runs: { readonly stage: number; readonly run: SessionRun }[];
}

function swarmOf({ seed = 1, capacityTokens, steps = 1000, fault, onRun }: {
  readonly seed?: number;
  readonly capacityTokens?: number;
  readonly steps?: number;
  readonly fault?: SwarmOptions["fault"];
  readonly onRun?: (stage: number, run: SessionRun) => void;
} = {}): Texts {
  const manifest = countingManifest({
    stages: STAGES,
    microBatchesPerStep: MICRO_BATCHES,
    steps,
    sequenceLength: SEQUENCE_LENGTH,
    rebalance: { everySeconds: 0 },
  });
  const sums: AppliedSum[] = [];
  const runs: Texts["runs"] = [];
  const swarm = new SimulatedSwarm({
    manifest,
    dataset: countingData(0, SEQUENCE_LENGTH),
    seed,
    fault,
    openStage: (index) =>
      Promise.resolve(
        new CountingStage({
          manifest,
          index,
          watcher: { applied: (sum) => sums.push(sum) },
          sessions: {
            capacityTokens,
            onRun: (run) => {
              runs.push({ stage: index, run });
              onRun?.(index, run);
            },
          },
        }),
      ),
  });
  return { swarm, sums, runs };
}

function start(swarm: SimulatedSwarm, replicas: number): void {
  for (let stage = 0; stage < STAGES; stage++) {
    for (let replica = 0; replica < replicas; replica++) swarm.startHost(`host-${stage}-${replica}`, stage);
  }
}

/** Everybody but trainers serves readers. */
async function ready(swarm: SimulatedSwarm): Promise<void> {
  await swarm.until(() => swarm.hosts().every((peer) => swarm.statuses.get(peer)?.servesSessions === true));
}

/** The n-th text of a test: prompts of any length, all ways of drawing. */
function wishOf(
  n: number,
): { readonly prompt: number[]; readonly sampling: Sampling; readonly tokensMax: number } {
  const length = n % 10 === 0 ? 300 + n % 100 : 1 + (7 * n) % 40;
  const kinds: Sampling[] = [
    GREEDY,
    { ...GREEDY, temperature: 0.8, seed: n },
    {
      ...GREEDY,
      temperature: 1,
      seed: n,
      presencePenalty: 0.5,
      repetitionPenalty: 1.1,
      topLogProbabilities: 2,
    },
  ];
  return {
    prompt: Array.from({ length }, (_, at) => (31 * n + 7 * at) % VOCABULARY),
    sampling: kinds[n % kinds.length],
    tokensMax: 5 + n % 20,
  };
}

/** Has a text continued, and checks it token by token. */
async function follow(reader: ReaderPeer, n: number): Promise<void> {
  const { prompt, sampling, tokensMax } = wishOf(n);
  const expected = countingText({ stages: STAGES, vocabulary: VOCABULARY }, prompt, sampling, tokensMax);
  const got = [];
  const request = { prompt: Int32Array.from(prompt), sampling, tokensMax, stopTokens: [] };
  for await (const drawn of reader.generate(request)) got.push(drawn);
  assert.deepEqual(got, expected, `text ${n}`);
}

/** Lets time pass until all texts are there. */
async function followed(swarm: SimulatedSwarm, texts: readonly Promise<void>[]): Promise<void> {
  let left = texts.length;
  const all = Promise.all(texts.map((text) => text.finally(() => left--)));
  // Whatever fails is told below.
  all.catch(() => left = 0);
  await swarm.until(() => left === 0);
  await all;
}

/** Nobody keeps anything of any text. */
async function assertNothingKept(swarm: SimulatedSwarm): Promise<void> {
  await swarm.simulation.run({ untilMs: swarm.simulation.clock.nowMs() + 2000 });
  for (const peer of swarm.hosts()) {
    const { sessions } = swarm.stages.get(peer)!;
    assert.deepEqual([sessions?.count, sessions?.roomTokens], [0, sessions?.capacityTokens], peer);
    assert.equal(swarm.statuses.get(peer)?.sessions, 0, peer);
  }
}

function range(count: number, from = 0): number[] {
  return Array.from({ length: count }, (_, n) => from + n);
}

Deno.test("hosts without any trainer continue hundreds of texts of several homes, many in one run", async () => {
  const { swarm, runs } = swarmOf();
  start(swarm, 2);
  const homes = ["one", "two", "three"].map((name) => swarm.startReader(name));
  await ready(swarm);
  await followed(swarm, range(300).map((n) => follow(homes[n % homes.length], n)));
  await assertNothingKept(swarm);
  const decodes = runs.filter(({ run }) => run.input.shape[1] === 1);
  const rows = decodes.reduce((sum, { run }) => sum + run.sequences.length, 0);
  assert.ok(rows / decodes.length > 4, `${rows} tokens in ${decodes.length} runs`);
  await swarm.close();
});

for (const seed of range(6)) {
  Deno.test(`hosts die and come back while 150 texts are continued (seed ${seed}): each is as without`, async () => {
    const { swarm } = swarmOf({ seed });
    start(swarm, 3);
    const home = swarm.startReader("home");
    await ready(swarm);
    const { clock, entropy } = swarm.simulation;
    const chance = entropy.fork("deaths");
    for (let death = 0; death < 5; death++) {
      const peer = `host-${chance.integer(STAGES)}-${chance.integer(3)}`;
      const stage = Number(peer.split("-")[1]);
      const atMs = 50 + chance.integer(1500);
      clock.after(atMs, () => {
        // One of each stage stays: nobody could answer otherwise.
        const others = swarm.hosts().filter((other) => other !== peer && other.startsWith(`host-${stage}`));
        if (!swarm.isUp(peer) || others.length === 0) return;
        if (death % 2 === 0) swarm.kill(peer);
        else swarm.stop(peer);
        clock.after(2000, () => swarm.startHost(peer, stage));
      });
    }
    await followed(swarm, range(150, 1000 * seed).map((n) => follow(home, n)));
    await swarm.until(() => swarm.hosts().length === 3 * STAGES);
    await ready(swarm);
    await assertNothingKept(swarm);
    await swarm.close();
  });
}

Deno.test("hosts with room for few texts continue many: those that find none come again", async () => {
  const { swarm } = swarmOf({ capacityTokens: 2048 });
  start(swarm, 1);
  const home = swarm.startReader("home");
  await ready(swarm);
  await followed(swarm, range(60).map((n) => follow(home, n)));
  await assertNothingKept(swarm);
  await swarm.close();
});

Deno.test("training goes on beside texts: every micro-batch counts once, and every text is as without", async () => {
  const { swarm, sums } = swarmOf({ steps: 40 });
  start(swarm, 2);
  const home = swarm.startReader("home");
  swarm.startTrainer("trainer");
  await swarm.until(() => swarm.steps().length === 2);
  await ready(swarm);
  await followed(swarm, range(100).map((n) => follow(home, n)));
  const during = swarm.steps().length;
  assert.ok(during > 2, `${during} steps`);
  assert.equal((await swarm.finish())?.kind, "done");
  for (const { counts, strays } of sums) {
    assert.deepEqual([...counts, strays], [...new Array(MICRO_BATCHES).fill(1), 0]);
  }
  // Readers are served also when the run is over.
  await followed(swarm, range(10).map((n) => follow(home, n)));
  await assertNothingKept(swarm);
  await swarm.close();
});

Deno.test("a text is over on every host with the last token that is wanted, whether anybody takes it or not", async () => {
  const { swarm, runs } = swarmOf();
  start(swarm, 1);
  const home = swarm.startReader("home");
  await ready(swarm);
  const prompt = [1, 2, 3];
  const expected = countingText({ stages: STAGES, vocabulary: VOCABULARY }, prompt, GREEDY, 4)
    .map(({ token }) => token);
  const told: number[] = [];
  const tokens = home.generate({
    prompt: Int32Array.from(prompt),
    sampling: GREEDY,
    tokensMax: 1000,
    stopTokens: [],
    isLast: (token) => told.push(token) === 4,
  })[Symbol.asyncIterator]();
  let first: number | undefined;
  tokens.next().then(({ value }) => first = value?.token);
  await swarm.until(() => first !== undefined);
  await assertNothingKept(swarm);
  assert.deepEqual(told, expected);
  // The prompt, and each token but the last.
  for (const stage of range(STAGES)) assert.equal(runs.filter((run) => run.stage === stage).length, 4);
  const rest = await Array.fromAsync({ [Symbol.asyncIterator]: () => tokens });
  assert.deepEqual([first, ...rest.map(({ token }) => token)], expected);

  const failing = home.generate({
    prompt: Int32Array.from(prompt),
    sampling: GREEDY,
    tokensMax: 1000,
    stopTokens: [],
    isLast: () => {
      throw new RangeError("no such token");
    },
  });
  const failed = assert.rejects(Array.fromAsync(failing), { name: "RangeError", message: "no such token" });
  await assertNothingKept(swarm);
  await failed;
  await followed(swarm, [follow(home, 3)]);
  await swarm.close();
});

Deno.test("a home that goes away leaves nothing behind, in good order or not", async () => {
  const { swarm } = swarmOf();
  start(swarm, 1);
  const homes = ["stops", "dies", "stays"].map((name) => swarm.startReader(name));
  await ready(swarm);
  const texts = range(30).map((n) => follow(homes[n % 3], n));
  const outcomes = Promise.allSettled(texts);
  const sessions = () => swarm.stages.get("host-2-0")!.sessions!.count;
  await swarm.until(() => sessions() > 5);
  swarm.stop("stops");
  swarm.kill("dies");
  let isOver = false;
  const staying = Promise.all(texts.filter((_, n) => n % 3 === 2)).then(() => isOver = true);
  await swarm.until(() => isOver);
  await staying;
  await assertNothingKept(swarm);
  await swarm.close();
  await outcomes;
});

/** Hosts at each stage that serve readers. */
function spread(swarm: SimulatedSwarm): number[] {
  const counts = new Array<number>(STAGES).fill(0);
  for (const { stage, servesSessions } of swarm.statuses.values()) if (servesSessions) counts[stage!]++;
  return counts;
}

for (const seed of range(5)) {
  Deno.test(`newcomers without a trainer find stages for themselves, and a trainer takes them as they are (seed ${seed})`, async () => {
    const { swarm } = swarmOf({ seed, steps: 5 });
    for (const n of range(6)) swarm.startHost(`host-${n}`);
    await swarm.until(() => spread(swarm).every((count) => count > 0), 5 * STANDALONE_LOOK_MS);
    await swarm.until(() =>
      swarm.statuses.size === 6 && [...swarm.statuses.values()].every((it) => it.servesSessions)
    );
    const home = swarm.startReader("home");
    await followed(swarm, range(10).map((n) => follow(home, n)));
    swarm.startTrainer("trainer");
    assert.equal((await swarm.finish())?.kind, "done");
    await swarm.close();
  });
}

Deno.test("when a stage has lost its last host, one of another that can be spared takes it", async () => {
  const { swarm } = swarmOf();
  for (const n of range(5)) swarm.startHost(`host-${n}`);
  await swarm.until(() => spread(swarm).every((count) => count > 0), 5 * STANDALONE_LOOK_MS);
  const alone = [...swarm.statuses].filter(([, { stage }]) => spread(swarm)[stage!] === 1);
  const [[peer, { stage }]] = alone;
  swarm.kill(peer);
  assert.equal(spread(swarm)[stage!], 0);
  await swarm.until(() => spread(swarm).every((count) => count > 0), 10 * STANDALONE_LOOK_MS);
  for (const [peer, { servesSessions, trouble }] of swarm.statuses) {
    if (swarm.isUp(peer)) assert.deepEqual([servesSessions, trouble], [true, undefined], peer);
  }
  const home = swarm.startReader("home");
  await followed(swarm, range(10).map((n) => follow(home, n)));
  await swarm.close();
});

Deno.test("of homes of which one has far more texts, the other waits for a run in between, and no more", async () => {
  let watched: string | undefined;
  /** Runs of each stage since a token of the watched text was sent there. */
  const since = new Map<number, number>();
  const waits: number[] = [];
  const { swarm } = swarmOf({
    fault: (_from, _to, { header }) => {
      const { kind, stage, parts } = header as unknown as MessageOf<"extend">;
      if (kind === "extend" && parts.some(({ session }) => session === watched)) since.set(stage, 0);
      if (kind === "extend" && parts[0].opening?.home === "quiet") watched = parts[0].session;
      return undefined;
    },
    onRun: (stage, { sequences }) => {
      const others = since.get(stage);
      if (others === undefined) return;
      since.set(stage, others + 1);
      if (!sequences.some(({ key }) => key === watched)) return;
      waits.push(others);
      since.delete(stage);
    },
  });
  start(swarm, 1);
  const [busy, quiet] = ["busy", "quiet"].map((name) => swarm.startReader(name));
  await ready(swarm);
  const crowd = range(200, 100).map((n) => follow(busy, n));
  await swarm.until(() => swarm.stages.get("host-0-0")!.sessions!.count > 100);
  await followed(swarm, [follow(quiet, 19)]);
  assert.ok(waits.length > 3 * 20, `${waits.length}`);
  // The run that is under way as it comes, and one of prompts.
  assert.ok(Math.max(...waits) <= 2, `${waits}`);
  await followed(swarm, crowd);
  await assertNothingKept(swarm);
  await swarm.close();
});

Deno.test("nobody stands alone as long as a trainer is there", async () => {
  const { swarm } = swarmOf({ steps: 1_000_000 });
  swarm.startHost("host-0", 0);
  swarm.startTrainer("trainer");
  await swarm.simulation.run({ untilMs: 4 * STANDALONE_MS });
  assert.equal(swarm.statuses.get("host-0")?.servesSessions, false);
  await swarm.close();
});
