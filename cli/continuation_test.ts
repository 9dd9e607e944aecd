import assert from "node:assert/strict";
import type { GenerationRequest } from "../actors/generation.ts";
import { type DrawnToken, GREEDY } from "../run/mod.ts";
import { type Continuation, continueTokens } from "./continuation.ts";

/** Counts on: after 3 comes 4. */
function counting(): Continuation["source"] & { readonly asked: GenerationRequest[] } {
  const asked: GenerationRequest[] = [];
  return {
    asked,
    async *generate(request): AsyncGenerator<DrawnToken, void, void> {
      asked.push(request);
      for (
        let token = request.prompt.at(-1)! + 1;
        token <= request.prompt.at(-1)! + request.tokensMax;
        token++
      ) {
        yield { token, logProbability: -1, top: [] };
        if (request.stopTokens.includes(token)) return;
        await Promise.resolve();
      }
    },
  };
}

async function idsOf(more: Partial<Continuation>): Promise<number[]> {
  const ids: number[] = [];
  const continuation = {
    source: counting(),
    prompt: [1, 2],
    tokensMax: 3,
    contextTokens: 8,
    sampling: GREEDY,
    stopTokens: [],
    ...more,
  };
  for await (const { token } of continueTokens(continuation)) ids.push(token);
  return ids;
}

Deno.test("what the model can see at once is one request", async () => {
  const source = counting();
  assert.deepEqual(await idsOf({ source, tokensMax: 6 }), [3, 4, 5, 6, 7, 8]);
  assert.deepEqual(source.asked.map(({ prompt, tokensMax }) => [[...prompt], tokensMax]), [[[1, 2], 6]]);
});

Deno.test("a longer text goes on from its latter half, with draws of its own", async () => {
  const source = counting();
  const sampling = { ...GREEDY, temperature: 1, seed: 2 ** 32 - 1 };
  const ids = await idsOf({ source, tokensMax: 12, sampling });
  assert.deepEqual(ids, Array.from({ length: 12 }, (_, index) => index + 3));
  assert.deepEqual(source.asked.map(({ prompt, tokensMax }) => [[...prompt], tokensMax]), [
    [[1, 2], 6],
    [[5, 6, 7, 8], 4],
    [[9, 10, 11, 12], 2],
  ]);
  assert.deepEqual(source.asked.map(({ sampling }) => sampling.seed), [2 ** 32 - 1, 0, 1]);
});

Deno.test("of a prompt beyond its reach the model sees the end", async () => {
  const source = counting();
  assert.deepEqual(await idsOf({ source, prompt: [1, 2, 3, 4, 5, 6, 7, 8], tokensMax: 1 }), [9]);
  assert.deepEqual([...source.asked[0].prompt], [5, 6, 7, 8]);
});

Deno.test("what opened the text opens its latter half too", async () => {
  const source = counting();
  await idsOf({ source, tokensMax: 12, beginOfText: 1 });
  assert.deepEqual(source.asked.map(({ prompt }) => [...prompt]), [[1, 2], [1, 6, 7, 8], [1, 10, 11, 12]]);
  const small = counting();
  await idsOf({ source: small, contextTokens: 2, prompt: [1], tokensMax: 3, beginOfText: 1 });
  assert.deepEqual(small.asked.map(({ prompt }) => [...prompt]), [[1], [2], [3]], "no room for it");
});

Deno.test("a token that ends the text ends it, in whatever part it stands", async () => {
  const source = counting();
  assert.deepEqual(await idsOf({ source, tokensMax: 100, stopTokens: [10] }), [3, 4, 5, 6, 7, 8, 9, 10]);
  assert.equal(source.asked.length, 2);
});
