/**
 * Whether memory grows as texts come and go: resident memory of a gateway and of
 * the hosts behind it, real processes all, sampled while texts of all lengths are
 * asked for, many at once, and some given up half-way. It looks at no answer.
 */

import { drawInteger, Purpose } from "../run/mod.ts";
import { openRun, startSwarm } from "./bench_swarm.ts";
import { MemoryCurves, memoryRow } from "./resident.ts";
import type { BenchContext, BenchRow } from "./row.ts";

const MANIFEST = {
  version: 1,
  name: "bench-serving-memory",
  model: { family: "llama", vocabulary: 256, width: 64, layers: 2, heads: 2 },
  stages: 2,
  sequenceLength: 512,
  sequencesPerMicroBatch: 1,
  microBatchesPerStep: 1,
  steps: 1,
  seed: 11,
  tokenizer: { kind: "bytes" },
  validation: { fraction: 0 },
};
/** Texts under way at once: as many as a gateway gives to one who names no key. */
const TOGETHER = 16;
/** Longest prompt and longest answer, in tokens. */
const PROMPT_MAX = 400;
const ANSWER_MAX = 64;
/** Every so manieth text is given up, at any token of it. */
const GIVEN_UP_EVERY = 4;
/** Points of each curve. */
const SAMPLES = 40;
/** Rows of the table that shows them. */
const TABLE_ROWS = 10;
/** Longer than a swarm needs to be found, and hosts to find out that nobody trains. */
const PATIENCE_MS = 60_000;

/** How long. */
export interface ServingMemoryOptions {
  readonly sessions: number;
  /** Ends it earlier. */
  readonly minutes?: number;
}

/** Measures until all texts are over. */
export async function* benchServingMemory(
  context: BenchContext,
  { sessions, minutes }: ServingMemoryOptions,
): AsyncGenerator<BenchRow, void, void> {
  const { clock, signal } = context;
  const curves = new MemoryCurves();
  await using run = await openRun(MANIFEST);
  await using processes = await startSwarm(context, run, 1);
  const url = await processes.swarm.gateway();
  await whenServed(context, url);

  const untilMs = minutes === undefined ? Infinity : clock.nowMs() + minutes * 60_000;
  let asked = 0;
  let over = 0;
  const askOn = async () => {
    while (asked < sessions && clock.nowMs() < untilMs) {
      signal.throwIfAborted();
      await ask(url, textOf(asked++), signal);
      over++;
      const share = Math.floor(SAMPLES * over / sessions);
      if (share === Math.floor(SAMPLES * (over - 1) / sessions)) continue;
      await curves.sample(processes.swarm.processes, over);
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, askOn));
  const title = `${over} texts, ${TOGETHER} at once, every ${GIVEN_UP_EVERY}th given up`;
  context.note(`memory: ${title}; the picture is in ${await curves.save("serving-memory", title, "texts")}`);
  context.note(curves.table("texts", TABLE_ROWS));
  for (const curve of curves.all) yield memoryRow(curve, "texts");
}

/** What is asked for. */
interface Text {
  readonly prompt: string;
  readonly tokens: number;
  /** Tokens after which nobody listens any more; `Infinity` for a text that comes to its end. */
  readonly heard: number;
}

/** The n-th text is the same in every run, whenever it is asked for. */
function textOf(text: number): Text {
  const upTo = (most: number, draw: number) =>
    1 + drawInteger(MANIFEST.seed, Purpose.sampling, [text, draw, 0], most);
  const tokens = upTo(ANSWER_MAX, 0);
  const givenUp = text % GIVEN_UP_EVERY === GIVEN_UP_EVERY - 1;
  return { prompt: "a".repeat(upTo(PROMPT_MAX, 1)), tokens, heard: givenUp ? upTo(tokens, 2) : Infinity };
}

/** Returns when the text is over, or given up. @throws {Error} if it was refused. */
async function ask(url: string, { prompt, tokens, heard }: Text, signal: AbortSignal): Promise<void> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MANIFEST.name, prompt, max_tokens: tokens, stream: true }),
    signal,
  });
  if (!response.ok) throw new Error(`Cannot go on with a text: ${response.status} ${await response.text()}`);
  let events = 0;
  // Leaving the loop hangs up.
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    if (part.includes('"error"')) throw new Error(`Cannot go on with a text: ${part}`);
    events += part.split("data: ").length - 1;
    if (events >= heard) break;
  }
}

/** Waits until a text goes through. */
async function whenServed({ clock, signal }: BenchContext, url: string): Promise<void> {
  const untilMs = clock.nowMs() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask(url, { prompt: "a", tokens: 2, heard: Infinity }, signal);
    } catch (error) {
      if (clock.nowMs() > untilMs) throw error;
    }
    signal.throwIfAborted();
    await new Promise<void>((resolve) => clock.after(500, resolve));
  }
}
