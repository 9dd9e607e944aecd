/**
 * What it costs to go on with texts: tokens per second of one session and of
 * many, and how long a prompt takes before its first token, all stages in one
 * process without a network; then what the network adds (`serving_network.ts`).
 */

import type { HostTensor } from "../kernels/mod.ts";
import { OnnxDevice } from "../kernels/onnx/device.ts";
import { GREEDY, type Manifest, parseManifest } from "../run/mod.ts";
import { createStages, type Draw, extendSolo, type Stage } from "../stages/mod.ts";
import { bareProductsRow } from "./bare_products.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";
import { networkRows } from "./serving_network.ts";

const WIDTH = 256;
const LAYERS = 4;
const VOCABULARY = 4096;
/** Of the prompt whose first token is waited for. */
const PROMPT_TOKENS = 512;
/** Sessions that go on together, one by itself first. */
const BATCHES = [1, 4, 16];
/** Tokens that each session has behind it when measuring begins. */
const PAST_TOKENS = 128;
const BATCHING_RATIO_MIN = 6;
const PREFILL_RATIO_MAX = 1.5;

const MANIFEST = {
  version: 1,
  name: "bench-serving",
  model: {
    family: "llama",
    vocabulary: VOCABULARY,
    width: WIDTH,
    layers: LAYERS,
    heads: 8,
    keyValueHeads: 2,
  },
  stages: 1,
  sequenceLength: 2 * PROMPT_TOKENS,
  sequencesPerMicroBatch: 1,
  microBatchesPerStep: 1,
  steps: 1,
  seed: 11,
  validation: { fraction: 0 },
};

/** Rounds, and the tokens that each session is continued by in one; the first round does not count. */
const FULL = { rounds: 7, tokens: 64 };
const QUICK = { rounds: 2, tokens: 4 };

const GREEDILY: Draw = { sampling: GREEDY, uniform: 0, text: new Int32Array(), promptTokens: 0 };

/** Measures for three minutes. */
export async function* benchServing(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  const { rounds, tokens } = context.quick ? QUICK : FULL;
  const manifest = parseManifest(JSON.stringify(MANIFEST));
  const threads = Math.min(2, navigator.hardwareConcurrency);
  const device = new OnnxDevice({ threads });
  try {
    const stages = await createStages(device, manifest);
    yield* decodeRows(context, stages, rounds, tokens);
    yield await bareProductsRow(context, device, manifest, {
      rows: BATCHES.at(-1)!,
      rounds: rounds * tokens,
    });
    yield* prefillRows(context, manifest, stages, rounds);
    for (const stage of stages) await stage.close();
  } finally {
    await device.close();
  }
  yield* networkRows(context, {
    manifest: MANIFEST,
    vocabulary: VOCABULARY,
    longPromptTokens: PROMPT_TOKENS,
    pastTokens: PAST_TOKENS,
  });
}

/** Tokens per second of sessions that go on together, beside one alone. */
async function* decodeRows(
  { clock, note, signal }: BenchContext,
  stages: readonly Stage[],
  rounds: number,
  tokens: number,
): AsyncGenerator<BenchRow, void, void> {
  const seconds = new Map(BATCHES.map((count) => [count, [] as number[]]));
  for (let round = 0; round <= rounds; round++) {
    if (round > 0) note(`serving: round ${round} of ${rounds}, one token after the other`);
    for (const count of BATCHES) {
      signal.throwIfAborted();
      const keys = Array.from({ length: count }, (_, session) => `${session}`);
      let next = await Promise.all(keys.map(async (key) => {
        const [drawn] = await extendSolo(stages, {
          sequences: [{ key, position: 0, draw: GREEDILY }],
          input: tokensOf(1, PAST_TOKENS, (i) => (i * 31 + Number(key)) % VOCABULARY),
        });
        return drawn!.token;
      }));
      const begin = clock.nowMs();
      for (let token = 0; token < tokens; token++) {
        const position = PAST_TOKENS + token;
        const drawn = await extendSolo(stages, {
          sequences: keys.map((key) => ({ key, position, draw: GREEDILY })),
          input: tokensOf(count, 1, (session) => next[session]),
        });
        next = drawn.map((one) => one!.token);
      }
      if (round > 0) seconds.get(count)!.push((clock.nowMs() - begin) / 1000 / tokens);
      for (const key of keys) for (const stage of stages) stage.sessions!.end(key);
    }
  }
  const speedOf = (count: number) => count / median(seconds.get(count)!);
  const [alone, ...together] = BATCHES;
  const size = `width ${WIDTH}, ${LAYERS} layers`;
  yield { name: `serving: one session, ${size}, one process`, value: speedOf(alone), unit: "tokens/s" };
  for (const count of together) {
    yield {
      name: `serving: ${count} sessions, ${size}, one process`,
      value: speedOf(count),
      unit: "tokens/s",
      ratio: speedOf(count) / speedOf(alone),
      to: "one session",
      ...(count === 16 && { target: { of: "ratio", atLeast: BATCHING_RATIO_MIN } }),
    };
  }
}

/** A prompt's first token, beside the bare forward pass of the same tokens. */
async function* prefillRows(
  { clock, note, signal }: BenchContext,
  { name }: Manifest,
  stages: readonly Stage[],
  rounds: number,
): AsyncGenerator<BenchRow, void, void> {
  const input = tokensOf(1, PROMPT_TOKENS, (i) => i * 31 % VOCABULARY);
  const bare: number[] = [];
  const first: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    signal.throwIfAborted();
    if (round > 0) note(`serving: round ${round} of ${rounds}, a prompt of ${PROMPT_TOKENS} tokens`);
    const begin = clock.nowMs();
    let hidden: HostTensor = input;
    for (const stage of stages) {
      const result = await stage.forward(name, hidden, undefined, { keep: false });
      if (result.kind === "activation") hidden = result.activation;
    }
    const between = clock.nowMs();
    await extendSolo(stages, { sequences: [{ key: name, position: 0, draw: GREEDILY }], input });
    const end = clock.nowMs();
    for (const stage of stages) stage.sessions!.end(name);
    if (round === 0) continue;
    bare.push(between - begin);
    first.push(end - between);
  }
  yield {
    name: `serving: first token after ${PROMPT_TOKENS}, one process`,
    value: median(first),
    unit: "ms",
    ratio: median(first) / median(bare),
    to: "bare forward pass",
    target: { of: "ratio", atMost: PREFILL_RATIO_MAX },
  };
}

function tokensOf(count: number, length: number, tokenAt: (place: number) => number): HostTensor {
  const data = Int32Array.from({ length: count * length }, (_, place) => tokenAt(place));
  return { dataType: "i32", shape: [count, length], data };
}
