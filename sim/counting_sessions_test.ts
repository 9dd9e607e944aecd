import assert from "node:assert/strict";
import fc from "fast-check";
import { type DrawnToken, GREEDY, type Sampling, samplingUniform } from "../run/mod.ts";
import { CacheFull, type Draw } from "../stages/mod.ts";
import { CountingSessions, countingText } from "./counting_sessions.ts";

const VOCABULARY = 256;
const PROMPT = [7, 1, 200, 33];
const PENALISED: Sampling = { ...GREEDY, temperature: 1, seed: 5, presencePenalty: 1 };

function pathOf(stages: number, capacityTokens?: number): CountingSessions[] {
  return Array.from(
    { length: stages },
    (_, index) =>
      new CountingSessions({ index, count: stages, vocabulary: VOCABULARY, width: 2, capacityTokens }),
  );
}

/** Takes rows of equal length through all stages. */
async function extend(
  path: readonly CountingSessions[],
  rows: readonly {
    readonly key: string;
    readonly position: number;
    readonly tokens: readonly number[];
    readonly draw?: Draw;
  }[],
): Promise<readonly (DrawnToken | undefined)[]> {
  let input: Parameters<CountingSessions["extend"]>[0]["input"] = {
    dataType: "i32",
    shape: [rows.length, rows[0].tokens.length],
    data: Int32Array.from(rows.flatMap(({ tokens }) => tokens)),
  };
  for (const [index, stage] of path.entries()) {
    const isLast = index + 1 === path.length;
    const sequences = rows.map(({ key, position, draw }) => ({
      key,
      position,
      draw: isLast ? draw : undefined,
    }));
    const result = await stage.extend({ sequences, input });
    if (result.kind === "drawn") return result.drawn;
    input = result.activation;
  }
  throw new Error("no stage was the last");
}

function drawOf(sampling: Sampling, text: readonly number[], promptTokens: number): Draw {
  return {
    sampling,
    uniform: samplingUniform(sampling, text.length),
    text: Int32Array.from(text),
    promptTokens,
  };
}

Deno.test("a text is the same however its tokens are cut into runs, and whoever is run beside it", async () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 });
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 4 }), cuts, async (stages, lengths) => {
    const expected = countingText({ stages, vocabulary: VOCABULARY }, PROMPT, PENALISED, 5);
    const path = pathOf(stages);
    const text = [...PROMPT];
    let position = 0;
    for (const length of [...lengths, PROMPT.length]) {
      const tokens = text.slice(position, position + length);
      if (tokens.length === 0 || position + tokens.length === text.length) break;
      await extend(path, [{ key: "other", position: 0, tokens: tokens.toReversed() }]);
      await extend(path, [{ key: "own", position, tokens }]);
      position += tokens.length;
    }
    for (const { token } of expected) {
      const [drawn] = await extend(path, [{
        key: "own",
        position,
        tokens: text.slice(position),
        draw: drawOf(PENALISED, text, PROMPT.length),
      }]);
      assert.equal(drawn?.token, token);
      position = text.length;
      text.push(token);
    }
  }));
});

Deno.test("another seed, another prompt and another wish lead to another text", () => {
  const texts = [
    [PROMPT, PENALISED],
    [PROMPT, { ...PENALISED, seed: 6 }],
    [PROMPT, { ...PENALISED, topK: 3 }],
    [[...PROMPT, 0], PENALISED],
    [PROMPT.toReversed(), PENALISED],
  ] as const;
  const of = ([prompt, sampling]: typeof texts[number]) =>
    countingText({ stages: 2, vocabulary: VOCABULARY }, prompt, sampling, 8).map(({ token }) => token).join();
  assert.equal(new Set(texts.map(of)).size, texts.length);
});

Deno.test("a gap, another's hidden states, a session twice and a draw too early are refused, and change nothing", async () => {
  const [first, last] = pathOf(2);
  const input = { dataType: "i32", shape: [1, 2], data: Int32Array.of(1, 2) } as const;
  const result = await first.extend({ sequences: [{ key: "a", position: 0 }], input });
  assert.ok(result.kind === "activation");
  const { activation } = result;
  const draw = drawOf(PENALISED, [1, 2], 2);
  const bad = [
    first.extend({ sequences: [{ key: "a", position: 3 }], input }),
    first.extend({ sequences: [{ key: "b", position: 1 }], input }),
    first.extend({ sequences: [{ key: "b", position: 0, draw }], input }),
    first.extend({ sequences: [{ key: "b", position: 0 }], input: activation }),
    first.extend({
      sequences: [{ key: "b", position: 0 }],
      input: { ...input, data: Int32Array.of(1, 256) },
    }),
    first.extend({
      sequences: [{ key: "b", position: 0 }, { key: "b", position: 0 }],
      input: { dataType: "i32", shape: [2, 1], data: input.data },
    }),
    last.extend({ sequences: [{ key: "a", position: 0 }], input }),
    last.extend({ sequences: [{ key: "a", position: 1 }], input: activation }),
    last.extend({
      sequences: [{ key: "a", position: 0, draw: drawOf(PENALISED, [1], 1) }],
      input: activation,
    }),
    last.extend({
      sequences: [{ key: "a", position: 0, draw: { ...draw, text: new Int32Array() } }],
      input: activation,
    }),
  ];
  for (const one of bad) await assert.rejects(one, TypeError);
  assert.deepEqual([first.count, last.count], [1, 0]);
});

Deno.test("a full cache refuses a run whole, and a session that has ended makes room", async () => {
  const path = pathOf(1, 64);
  const row = (key: string) => ({ key, position: 0, tokens: [1] });
  await extend(path, [row("a")]);
  await assert.rejects(extend(path, [row("b"), row("c")]), CacheFull);
  assert.deepEqual([path[0].count, path[0].roomTokens], [1, 32]);
  path[0].end("a");
  await extend(path, [row("b"), row("c")]);
  assert.equal(path[0].roomTokens, 0);
});
