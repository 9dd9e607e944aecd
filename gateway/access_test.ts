import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { VirtualClock } from "../actors/core/virtual_clock.ts";
import { parseKeys } from "./keys.ts";
import { BODY_BYTES_MAX } from "./limits.ts";
import type { Generation } from "./engine.ts";
import { FAKE_MODEL, FakeEngine, untilAborted } from "./testing/fake_engine.ts";
import { serve, type Served } from "./testing/served.ts";

const model = FAKE_MODEL.id;
const ALICE = "sk-alice-0123456789";
const BOB = "sk-bob-0123456789ab";

/** Two keys: one by itself, one by its hash. */
function keys(limits: object = {}) {
  const sha256 = createHash("sha256").update(BOB).digest("hex");
  return parseKeys(
    JSON.stringify({ keys: [{ name: "alice", key: ALICE, ...limits }, { name: "bob", sha256 }] }),
  );
}

function ask(served: Served, key: string | undefined, body: object = { model, prompt: "x", max_tokens: 4 }) {
  return served.fetch("/v1/completions", {
    method: "POST",
    headers: { "content-type": "application/json", ...key ? { authorization: `Bearer ${key}` } : {} },
    body: JSON.stringify(body),
  });
}

async function problemOf(response: Response) {
  return (await response.json() as { error: { message: string; code: string; type: string } }).error;
}

Deno.test("with keys, only who has one is answered; the page and the health are for all", async () => {
  await using served = await serve({ keys: keys() });
  for (const wrong of [undefined, "sk-alice-0123456780", `${ALICE}0`, "", "ключ-0123456789"]) {
    for (const path of ["/v1/models", "/metrics"]) {
      const authorization = wrong === undefined ? undefined : `Bearer ${encodeURIComponent(wrong)}`;
      const response = await served.fetch(path, { headers: authorization ? { authorization } : {} });
      assert.equal(response.status, 401);
      assert.equal(response.headers.get("www-authenticate"), "Bearer");
      assert.equal((await problemOf(response)).code, "invalid_api_key");
    }
  }
  for (const key of [ALICE, BOB]) {
    const response = await ask(served, key);
    assert.equal(response.status, 200, await response.text());
  }
  for (const path of ["/", "/chat.js", "/healthz"]) {
    const response = await served.fetch(path);
    assert.equal(response.status, 200);
    await response.body?.cancel();
  }
});

Deno.test("a file of keys that can't be used is refused, and never quoted", () => {
  for (
    const [text, reason] of [
      ["sk-secret-sk-secret", /no JSON/],
      ['{"keys": []}', /keys/],
      ['{"keys": [{"name": "a", "key": "sk-secret"}]}', /keys\.0\.key/],
      ['{"keys": [{"name": "a"}]}', /either key or sha256/],
      ['{"keys": [{"name": "a", "key": "sk-secret-sk-secret", "requests": 5}]}', /requests/],
      [JSON.stringify({ keys: Array(2).fill({ name: "a", key: "sk-secret-sk-secret" }) }), /the same/],
    ] as const
  ) {
    assert.throws(() => parseKeys(text), (error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, reason);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});

Deno.test("requests a minute are bounded for each key by itself, and come back with time", async () => {
  const clock = new VirtualClock();
  await using served = await serve({ clock, keys: keys({ requestsPerMinute: 2 }) });
  for (let count = 0; count < 2; count++) assert.equal((await spent(ask(served, ALICE))).status, 200);
  const refused = await ask(served, ALICE);
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "30"]);
  const { code, type } = await problemOf(refused);
  assert.deepEqual([code, type], ["rate_limit_exceeded", "rate_limit_error"]);
  assert.equal((await spent(ask(served, BOB))).status, 200);
  clock.advanceTo(30_000);
  assert.equal((await spent(ask(served, ALICE))).status, 200);
  assert.equal((await spent(ask(served, ALICE))).status, 429);
});

Deno.test("a request that can't be answered counts, and beyond the limit none is read", async () => {
  await using served = await serve({ clock: new VirtualClock(), keys: keys({ requestsPerMinute: 2 }) });
  const tooLong = { model, prompt: "x".repeat(1000) };
  for (const status of [400, 400, 429]) {
    assert.equal((await spent(ask(served, ALICE, tooLong))).status, status);
  }
});

Deno.test("tokens a minute are counted as they are drawn, and a debt is waited off", async () => {
  const clock = new VirtualClock();
  await using served = await serve({ clock, keys: keys({ tokensPerMinute: 60 }) });
  // 10 + 110 tokens of 60.
  assert.equal(
    (await spent(ask(served, ALICE, { model, prompt: "0123456789", max_tokens: 110 }))).status,
    200,
  );
  const refused = await spent(ask(served, ALICE));
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "61"]);
  clock.advanceTo(61_000);
  assert.equal((await spent(ask(served, ALICE))).status, 200);
});

Deno.test("tokens that were drawn ahead of a client that then goes count as well", async () => {
  const ahead = new class extends FakeEngine {
    override async *generate(generation: Generation, signal: AbortSignal) {
      for (let drawn = 0; drawn < 50; drawn++) generation.isLast!(97);
      yield { token: 97, logProbability: -1, top: [] };
      await untilAborted(signal);
    }
  }();
  await using served = await serve({ engine: ahead, keys: keys({ tokensPerMinute: 20 }) });
  const openai = served.openai.withOptions({ apiKey: ALICE });
  const answer = await openai.completions.create({ model, prompt: "x", max_tokens: 60, stream: true });
  for await (const _ of answer) break;
  assert.equal((await spent(ask(served, ALICE))).status, 429);
});

Deno.test("requests at once are bounded for each key, until their answers are over", async () => {
  await using served = await serve({ keys: keys({ concurrent: 1 }) });
  served.engine.pause = (_, signal) => untilAborted(signal);
  const controller = new AbortController();
  const first = served.openai.withOptions({ apiKey: ALICE }).completions
    .create({ model, prompt: "x", stream: true }, { signal: controller.signal });
  await served.engine.whenActive(1);
  assert.equal((await spent(ask(served, ALICE))).status, 429);
  assert.equal((await spent(ask(served, BOB, { model, prompt: "x", n: 17 }))).status, 400);
  const never = await ask(served, ALICE, { model, prompt: "x", n: 2 });
  assert.equal(never.status, 400, "who asks again is told the same");
  assert.match((await problemOf(never)).message, /alice has 1 answers at once/);
  controller.abort();
  await assert.rejects(first);
  await served.engine.whenActive(0);
  served.engine.pause = () => Promise.resolve();
  assert.equal((await spent(ask(served, ALICE))).status, 200);
  assert.equal((await spent(ask(served, ALICE))).status, 200);
});

Deno.test("a key that says nothing of it has a quarter of the answers at once, counted by choices", async () => {
  await using served = await serve({ keys: keys() });
  served.engine.pause = (_, signal) => untilAborted(signal);
  const controller = new AbortController();
  const bob = served.openai.withOptions({ apiKey: BOB });
  const held = bob.completions.create({ model, prompt: "x", n: 12 }, { signal: controller.signal });
  await served.engine.whenActive(12);
  const refused = await ask(served, BOB, { model, prompt: "x", n: 5 });
  assert.equal(refused.status, 429);
  assert.match((await problemOf(refused)).message, /16 answers at once/);
  const other = served.openai.withOptions({ apiKey: ALICE }).completions
    .create({ model, prompt: "x", n: 16 }, { signal: controller.signal });
  await served.engine.whenActive(28);
  controller.abort();
  await Promise.all([assert.rejects(held), assert.rejects(other)]);
  await served.engine.whenActive(0);
});

Deno.test("so many answers at once, so many wait, and the rest is told to come back", async () => {
  await using served = await serve({ atOnce: 2, waitingMax: 3 });
  const { engine } = served;
  const go = Promise.withResolvers<void>();
  engine.pause = (_, signal) => Promise.race([go.promise, untilAborted(signal)]);
  const controller = new AbortController();
  const waiting = Array.from({ length: 4 }, () => ask(served, undefined));
  await engine.whenActive(2);
  const leaver = served.openai.completions.create({ model, prompt: "x" }, { signal: controller.signal });
  await until(served, "murmuration_gateway_answers_waiting 3");
  const refused = await ask(served, undefined);
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "5"]);
  assert.match((await problemOf(refused)).message, /2 of 2 answers are under way, and 3 of 3 wait/);
  // Who leaves the queue makes room in it.
  controller.abort();
  await assert.rejects(leaver);
  await until(served, "murmuration_gateway_answers_waiting 2");
  waiting.push(ask(served, undefined));
  await until(served, "murmuration_gateway_answers_waiting 3");
  go.resolve();
  for (const response of await Promise.all(waiting)) assert.equal((await spent(response)).status, 200);
  assert.equal(engine.activeMax, 2);
  // A request that could never be told whole is refused before any of it is begun.
  const many = await ask(served, undefined, { model, prompt: "x", n: 6 });
  assert.equal((await spent(many)).status, 429);
  assert.equal(engine.active, 0);
});

Deno.test("methods, paths, types and sizes that don't fit have a status of their own", async () => {
  await using served = await serve();
  const send = (path: string, init: RequestInit = {}) => spent(served.fetch(path, init));
  const post = (body: string, headers: Record<string, string>) =>
    send("/v1/completions", { method: "POST", body, headers });
  const json = { "content-type": "application/json; charset=utf-8" };
  assert.equal((await send("/nothing")).status, 404);
  assert.equal((await send("/v1/models/%ff")).status, 400);
  assert.equal((await send(`/v1/models/${encodeURIComponent(model)}`)).status, 200);
  assert.equal((await send(`/v1/models/${model}`)).status, 200);
  const wrong = await send("/v1/completions");
  assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "POST, OPTIONS"]);
  assert.equal((await send("/v1/models", { method: "DELETE" })).status, 405);
  assert.equal((await send("/", { method: "HEAD" })).status, 200);
  assert.equal((await post("{}", { "content-type": "text/plain" })).status, 415);
  assert.equal((await post("{}", { ...json, "content-encoding": "gzip" })).status, 415);
  assert.equal((await post("{", json)).status, 400);
  assert.equal((await post("", json)).status, 400);
  assert.equal((await post("[]", json)).status, 400);
  assert.equal((await post(JSON.stringify({ model: "other", prompt: "x" }), json)).status, 404);
  assert.equal((await post(`"${"x".repeat(BODY_BYTES_MAX)}"`, json)).status, 413);
});

Deno.test("every refusal is JSON in OpenAI's form", async () => {
  await using served = await serve();
  for (const path of ["/nothing", "/v1/completions", "/v1/models/other"]) {
    const response = await served.fetch(path);
    assert.equal(response.headers.get("content-type"), "application/json");
    const { error } = await response.json();
    assert.deepEqual(Object.keys(error), ["message", "type", "param", "code"]);
  }
});

Deno.test("without keys only this machine's own names are answered to, and only its own page", async () => {
  await using served = await serve();
  const at = (host: string, origin?: string) =>
    served.gateway.handle(
      new Request(`http://${host}/v1/models`, { headers: origin === undefined ? {} : { origin } }),
    );
  for (const host of ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "127.0.0.2"]) {
    assert.equal((await at(host)).status, 200, host);
    assert.equal((await at(host, `http://${host}`)).status, 200, host);
    for (const origin of ["http://evil.example", "null", "http://localhost:1"]) {
      const refused = await at(host, origin);
      assert.equal(refused.status, 403, origin);
      assert.equal(refused.headers.get("access-control-allow-origin"), null);
    }
  }
  // A name of somebody else's that was made to point here.
  for (const host of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example"]) {
    assert.equal((await at(host, `http://${host}`)).status, 403, host);
  }
});

Deno.test("pages that are named may ask, and are told so before they do", async () => {
  const allowed = ["https://chat.example.org"];
  await using served = await serve({ keys: keys(), origins: { allowed, loopbackOnly: false } });
  const preflight = (origin: string) =>
    spent(served.fetch("/v1/chat/completions", { method: "OPTIONS", headers: { origin } }));
  const named = await preflight(allowed[0]);
  assert.equal(named.status, 204);
  assert.equal(named.headers.get("access-control-allow-origin"), allowed[0]);
  assert.equal(named.headers.get("access-control-allow-methods"), "POST");
  assert.match(named.headers.get("access-control-allow-headers")!, /authorization, content-type/);
  assert.equal((await preflight("https://other.example.org")).status, 403);
  const answer = await spent(
    served.fetch("/v1/models", { headers: { origin: allowed[0], authorization: `Bearer ${ALICE}` } }),
  );
  assert.deepEqual([answer.status, answer.headers.get("vary")], [200, "origin"]);
  // The refusal of a key can be read as well.
  const refused = await spent(served.fetch("/v1/models", { headers: { origin: allowed[0] } }));
  assert.deepEqual([refused.status, refused.headers.get("access-control-allow-origin")], [401, allowed[0]]);
});

Deno.test("health follows the engine, and figures count what was done", async () => {
  await using served = await serve();
  assert.deepEqual(await (await served.fetch("/healthz")).json(), { status: "ok" });
  served.engine.trouble = "nobody serves stage 1";
  const ill = await served.fetch("/healthz");
  assert.equal(ill.status, 503);
  assert.deepEqual(await ill.json(), { status: "unavailable", reason: "nobody serves stage 1" });
  served.engine.repairs = 3;
  await spent(ask(served, undefined, { model, prompt: "xyz", max_tokens: 5 }));
  await spent(ask(served, undefined, {}));
  for (let count = 0; count < 2; count++) {
    const figures = await (await served.fetch("/metrics")).text();
    for (
      const line of [
        'murmuration_gateway_requests_total{route="completions",status="200"} 1',
        'murmuration_gateway_requests_total{route="completions",status="400"} 1',
        'murmuration_gateway_requests_total{route="healthz",status="503"} 1',
        'murmuration_gateway_tokens_total{kind="in"} 3',
        'murmuration_gateway_tokens_total{kind="out"} 5',
        "murmuration_gateway_first_token_seconds_count 1",
        "murmuration_gateway_tokens_per_second_count 1",
        "murmuration_gateway_answers 0",
        "murmuration_sessions 0",
        "murmuration_session_repairs_total 3",
      ]
    ) assert.ok(figures.split("\n").includes(line), `${line} in\n${figures}`);
  }
});

/** An answer of which nothing is left. */
async function spent(response: Response | Promise<Response>): Promise<Response> {
  const whole = await response;
  await whole.arrayBuffer();
  return whole;
}

/** Asks for the figures until a line is among them. */
async function until(served: Served, line: string): Promise<void> {
  while (!(await (await served.fetch("/metrics")).text()).split("\n").includes(line));
}
