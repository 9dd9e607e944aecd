import assert from "node:assert/strict";
import { GenerationFailed, type GenerationFailure } from "../actors/generation.ts";
import { EngineBusy, EngineUnavailable, type Model } from "../gateway/mod.ts";
import { byteTokenizer, type DrawnToken, GREEDY, openChatTemplate } from "../run/mod.ts";
import { swarmEngine } from "./swarm_engine.ts";

const MODEL: Model = {
  id: "tiny",
  createdSeconds: 0,
  contextTokens: 64,
  tokenizer: byteTokenizer,
  chatTemplate: openChatTemplate(undefined),
};

const WISH = { model: "tiny", prompt: Int32Array.of(1), tokensMax: 4, sampling: GREEDY, stopTokens: [] };

function engineOver(
  tokens: AsyncIterable<DrawnToken>,
  hosts: readonly number[] = [1, 1],
  onFailed?: (error: GenerationFailed) => void,
) {
  return swarmEngine(
    {
      generate: () => tokens,
      figures: () => ({ sessions: 2, waiting: 1, repairs: 3, hosts }),
    },
    MODEL,
    onFailed,
  );
}

// deno-lint-ignore require-yield
async function* failing(error: Error): AsyncGenerator<DrawnToken> {
  throw error;
}

Deno.test("what keeps a swarm from answering has the gateway's words", async () => {
  const told: string[] = [];
  const outcome = async (failure: GenerationFailure) => {
    const tokens = failing(new GenerationFailed(failure, "Cannot continue a text: why"));
    const engine = engineOver(tokens, [1, 1], ({ message }) => told.push(message));
    return await Array.fromAsync(engine.generate(WISH, new AbortController().signal)).then(
      () => assert.fail("it went on"),
      (error) => error,
    );
  };
  for (const failure of [{ kind: "busy", retryAfterMs: 70 }, { kind: "noRoom", retryAfterMs: 70 }] as const) {
    const error = await outcome(failure);
    assert.ok(error instanceof EngineBusy);
    assert.deepEqual([error.message, error.retryAfterMs], ["Cannot continue a text: why", 70]);
  }
  for (const failure of [{ kind: "noHosts", stage: 1 }, { kind: "stopped" }] as const) {
    const error = await outcome(failure);
    assert.ok(error instanceof EngineUnavailable, failure.kind);
    assert.equal(error.message, "Cannot continue a text: why");
  }
  // Hosts, or a chain, have a say in why.
  for (const failure of [{ kind: "unanswered", attempts: 3 }, { kind: "unpaid" }] as const) {
    const error = await outcome(failure);
    assert.ok(error instanceof EngineUnavailable, failure.kind);
    assert.match(error.message, /^Cannot go on with a text: its hosts/);
  }
  assert.deepEqual(told, Array(2).fill("Cannot continue a text: why"), "they are for its owner's eyes");
  // Those that the gateway should have refused are bugs, and stay so.
  assert.ok(await outcome({ kind: "invalid" }) instanceof GenerationFailed);
});

Deno.test("tokens pass as they are, and whoever leaves is heard of", async () => {
  let left = false;
  const drawn: DrawnToken = { token: 65, logProbability: -1, top: [] };
  const engine = engineOver(async function* () {
    try {
      for (;;) yield drawn;
    } finally {
      left = true;
    }
  }());
  for await (const token of engine.generate(WISH, new AbortController().signal)) {
    assert.equal(token, drawn);
    break;
  }
  assert.ok(left);
});

Deno.test("a stage that nobody serves is trouble", () => {
  const tokens = failing(new Error("not asked for"));
  assert.deepEqual(engineOver(tokens).figures(), { sessions: 2, repairs: 3 });
  assert.equal(engineOver(tokens, [1, 0]).figures().trouble, "nobody is known who serves stage 1");
});
