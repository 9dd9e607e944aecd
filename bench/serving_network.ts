/**
 * What the network costs when texts are gone on with: tokens per second through
 * stages in processes of their own beside all stages in this one, many texts beside
 * one, a prompt's first token, and the pause when a host of the path is killed. The
 * home of the texts is in this process; all hosts are on this machine.
 */

import { assembleReader, type ReaderPeer } from "../actors/assemble.ts";
import { createIdentity } from "../actors/wire/identity.ts";
import type { LocalHost } from "../cli/local_swarm.ts";
import { openPeer } from "../cli/peer.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { GREEDY } from "../run/mod.ts";
import { continueSolo, createStages } from "../stages/mod.ts";
import { type BenchRun, openRun, startSwarm } from "./bench_swarm.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";

/** A model to measure, and how it is asked. */
export interface ServedModel {
  /** Of one stage, as a value. */
  readonly manifest: Readonly<Record<string, unknown>>;
  readonly vocabulary: number;
  /** Of the prompt whose first token is waited for. */
  readonly longPromptTokens: number;
  /** Tokens that a text has behind it when measuring begins. */
  readonly pastTokens: number;
}

const STAGES = [1, 2, 4];
const TOGETHER = 16;
const TOGETHER_RATIO_MIN = 6;
const FULL = { rounds: 5, tokens: 64, kills: 7 };
const QUICK = { rounds: 1, tokens: 8, kills: 1 };
/** Tokens after which a host of the path is killed. */
const TOKENS_BEFORE_KILL = 20;
/** Longer than a swarm needs to be found, and hosts to find out that nobody trains. */
const PATIENCE_MS = 60_000;

/** Measures for two minutes. */
export async function* networkRows(
  context: BenchContext,
  model: ServedModel,
): AsyncGenerator<BenchRow, void, void> {
  for (const stages of STAGES) {
    await using run = await openRun({ ...model.manifest, stages });
    await using home = await openHome(context, run, 1);
    yield* decodeRows(context, model, run, home, stages);
  }
  await using run = await openRun({ ...model.manifest, stages: 2 });
  await using home = await openHome(context, run, 2);
  yield await killRow(context, model, home);
}

async function* decodeRows(
  context: BenchContext,
  model: ServedModel,
  run: BenchRun,
  home: Home,
  stages: number,
): AsyncGenerator<BenchRow, void, void> {
  const { rounds, tokens } = context.quick ? QUICK : FULL;
  await using solo = await openSolo(context, run);
  const speeds: Record<"solo" | "alone" | "together", number[]> = { solo: [], alone: [], together: [] };
  const firsts: Record<"solo" | "home", number[]> = { solo: [], home: [] };
  for (let round = 0; round <= rounds; round++) {
    if (round > 0) context.note(`serving: round ${round} of ${rounds} through ${stages} stages`);
    const measured = {
      solo: speedOf([await solo.timesOf(promptOf(model, model.pastTokens, 0), tokens)]),
      alone: speedOf([await home.timesOf(promptOf(model, model.pastTokens, 0), tokens)]),
      together: speedOf(
        await Promise.all(
          Array.from(
            { length: TOGETHER },
            (_, n) => home.timesOf(promptOf(model, model.pastTokens, n), 2 * tokens),
          ),
        ),
      ),
    };
    const first = {
      solo: firstOf(await solo.timesOf(promptOf(model, model.longPromptTokens, round), 1)),
      home: firstOf(await home.timesOf(promptOf(model, model.longPromptTokens, round), 1)),
    };
    if (round === 0) continue;
    for (const name of ["solo", "alone", "together"] as const) speeds[name].push(measured[name]);
    for (const name of ["solo", "home"] as const) firsts[name].push(first[name]);
  }
  const through = `through ${stages} ${stages === 1 ? "process" : "processes"}`;
  const alone = median(speeds.alone);
  yield {
    name: `serving: one text ${through}`,
    value: alone,
    unit: "tokens/s",
    ratio: alone / median(speeds.solo),
    to: "the same stages in one process",
  };
  yield {
    name: `serving: ${TOGETHER} texts ${through}`,
    value: median(speeds.together),
    unit: "tokens/s",
    ratio: median(speeds.together) / alone,
    to: "one text",
    target: { of: "ratio", atLeast: TOGETHER_RATIO_MIN },
  };
  yield {
    name: `serving: first token after ${model.longPromptTokens} ${through}`,
    value: median(firsts.home),
    unit: "ms",
    ratio: median(firsts.home) / median(firsts.solo),
    to: "the same stages in one process",
  };
}

/** How long nothing comes when a host of the path dies. */
async function killRow(context: BenchContext, model: ServedModel, home: Home): Promise<BenchRow> {
  const { kills } = context.quick ? QUICK : FULL;
  const { clock } = context;
  const pauses: number[] = [];
  const usual: number[] = [];
  for (let kill = 0; kill < kills; kill++) {
    await home.whole();
    const stage = kill % 2;
    let killedAtMs = Infinity;
    let gone: Promise<void> | undefined;
    const times: number[] = [];
    const prompt = promptOf(model, model.pastTokens, kill);
    for await (
      const _ of home.reader.generate({ prompt, tokensMax: 120, sampling: GREEDY, stopTokens: [] })
    ) {
      times.push(clock.nowMs());
      if (times.length !== TOKENS_BEFORE_KILL) continue;
      killedAtMs = clock.nowMs();
      gone = home.kill(stage);
    }
    await gone;
    const gaps = times.slice(1).map((atMs, index) => atMs - times[index]);
    usual.push(...gaps.slice(0, TOKENS_BEFORE_KILL - 1));
    // What was under way when it died may still come.
    pauses.push(Math.max(...gaps.filter((_, index) => times[index + 1] > killedAtMs)));
    context.note(`serving: death ${kill + 1} of ${kills}, stage ${stage}: ${Math.round(pauses.at(-1)!)} ms`);
    if (kill + 1 < kills) await home.replace(stage);
  }
  return {
    name: `serving: pause when a host of the path dies, 2 stages × 2 hosts, median of ${kills}`,
    value: median(pauses),
    unit: "ms",
    ratio: median(pauses) / median(usual),
    to: "the time from one token to the next",
  };
}

/** A home in this process, and the processes of the hosts that it asks. */
interface Home extends AsyncDisposable {
  readonly reader: ReaderPeer;
  /** When each token came, in milliseconds; the first is when it was asked for. */
  timesOf(prompt: Int32Array, tokens: number): Promise<readonly number[]>;
  /** Waits until every host is known, and a text goes through. */
  whole(): Promise<void>;
  /** Kills the host of a stage that the latest text goes through. */
  kill(stage: number): Promise<void>;
  /** Starts another in the place of one that was killed. */
  replace(stage: number): Promise<void>;
}

async function openHome(context: BenchContext, run: BenchRun, replicas: number): Promise<Home> {
  const { clock, signal } = context;
  await using held = new AsyncDisposableStack();
  const { swarm, hosts } = held.use(await startSwarm(context, run, replicas));
  const broken = new AbortController();
  const peer = await openPeer({
    manifest: run.manifest,
    identity: await createIdentity(),
    listen: ["/ip4/127.0.0.1/tcp/0"],
    bootstrap: [swarm.address],
    escalate: ({ error }) => broken.abort(error),
  });
  held.defer(() => peer.close());
  let path: readonly string[] = [];
  const reader = assembleReader(peer.parts, {
    onFact: (fact) => {
      if (fact.kind === "placed" || fact.kind === "repaired") path = fact.path;
    },
  });
  held.defer(() => reader.stop());
  const ended = AbortSignal.any([signal, broken.signal]);
  const timesOf = async (prompt: Int32Array, tokens: number) => {
    const times = [clock.nowMs()];
    const request = { prompt, tokensMax: tokens, sampling: GREEDY, stopTokens: [] };
    for await (const _ of reader.generate(request, ended)) times.push(clock.nowMs());
    return times;
  };
  const home: Home = {
    reader,
    timesOf,
    async whole() {
      const untilMs = clock.nowMs() + PATIENCE_MS;
      for (;;) {
        try {
          await timesOf(Int32Array.of(1), 2);
          if (reader.figures().hosts.every((count) => count >= replicas)) return;
        } catch (error) {
          if (clock.nowMs() > untilMs) throw error;
        }
        ended.throwIfAborted();
        await new Promise<void>((resolve) => clock.after(500, resolve));
      }
    },
    async kill(stage) {
      const victim = hosts[stage].find(({ peer }) => peer === path[stage])!;
      hosts[stage].splice(hosts[stage].indexOf(victim), 1);
      await victim.kill();
    },
    async replace(stage) {
      hosts[stage].push(await swarm.startHost(stage) as LocalHost);
    },
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
  await home.whole();
  const stack = held.move();
  return home;
}

/** All stages in this process, on as many threads as a host has. */
async function openSolo({ clock }: BenchContext, { manifest }: BenchRun) {
  const device = new OnnxDevice({ threads: 1 });
  const stages = await createStages(device, manifest);
  return {
    async timesOf(prompt: Int32Array, tokens: number): Promise<readonly number[]> {
      const times = [clock.nowMs()];
      for await (const _ of continueSolo({ stages, key: "solo", prompt, tokens, sampling: GREEDY })) {
        times.push(clock.nowMs());
      }
      return times;
    },
    async [Symbol.asyncDispose]() {
      for (const stage of stages) await stage.close();
      await device.close();
    },
  };
}

/** Tokens per second while all texts are under way: from the last's first token to the first's last one. */
function speedOf(texts: readonly (readonly number[])[]): number {
  const beginMs = Math.max(...texts.map((times) => times[1]));
  const endMs = Math.min(...texts.map((times) => times.at(-1)!));
  const tokens = texts.reduce(
    (sum, times) => sum + times.filter((atMs, index) => index > 0 && atMs > beginMs && atMs <= endMs).length,
    0,
  );
  return 1000 * tokens / (endMs - beginMs);
}

function firstOf([beginMs, firstMs]: readonly number[]): number {
  return firstMs - beginMs;
}

function promptOf({ vocabulary }: ServedModel, length: number, seed: number): Int32Array {
  return Int32Array.from({ length }, (_, index) => (31 * index + 7 * seed) % vocabulary);
}
