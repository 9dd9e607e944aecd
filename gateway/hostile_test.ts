import assert from "node:assert/strict";
import fc from "fast-check";
import { SeededEntropy } from "../actors/core/seeded_entropy.ts";
import { VirtualClock } from "../actors/core/virtual_clock.ts";
import { Gateway } from "./gateway.ts";
import { BODY_BYTES_MAX, BODY_BYTES_TOTAL_MAX, BODY_MS_MAX, STALL_MS_MAX } from "./limits.ts";
import { FAKE_MODEL, FakeEngine } from "./testing/fake_engine.ts";
import { serve } from "./testing/served.ts";

const model = FAKE_MODEL.id;
const PATHS = ["/v1/completions", "/v1/chat/completions"];

/** A gateway without a port, and what it was told of bugs. */
function build(parts: { readonly atOnce?: number; readonly waitingMax?: number } = {}) {
  const engine = new FakeEngine();
  const clock = new VirtualClock();
  const bugs: unknown[] = [];
  const onBug = (error: unknown) => void bugs.push(error);
  const gateway = new Gateway({ engine, clock, entropy: new SeededEntropy(1), onBug, ...parts });
  return { engine, clock, bugs, gateway };
}

function post(path: string, body: BodyInit, signal?: AbortSignal): Request {
  return new Request(`http://localhost${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
    signal,
  });
}

const VALID = {
  model,
  prompt: "x",
  messages: [{ role: "user", content: "x" }],
  max_tokens: 3,
};

/** Every field that is known, and some that are not. */
const FIELDS = [
  ...[
    "model",
    "prompt",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "stop",
    "stream",
    "seed",
    "echo",
  ],
  ...[
    "stream_options",
    "temperature",
    "top_p",
    "top_k",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "suffix",
    "best_of",
  ],
  ...[
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "tools",
    "tool_choice",
    "response_format",
  ],
  ...["modalities", "user", "__proto__", "constructor", "min_p"],
];

/** Values that are nearly right, and values that are not. */
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.integer({ min: -3, max: 40 }),
  fc.double(),
  fc.constantFrom<unknown>(true, null, "", "\u0000", "\ud800", [""], [[]], [[1, 2]], { 5: 1 }, {
    type: "text",
  }),
  fc.array(
    fc.record({ role: fc.constantFrom("user", "system", "tool", 5), content: fc.jsonValue({ maxDepth: 2 }) }),
  ),
  fc.array(fc.string({ maxLength: 4 }), { maxLength: 5 }),
);

const request = fc.oneof(
  { weight: 1, arbitrary: fc.jsonValue() },
  {
    weight: 5,
    arbitrary: fc.dictionary(fc.constantFrom(...FIELDS), value, { maxKeys: 5 })
      .map((fields) => ({ ...VALID, ...fields })),
  },
);

Deno.test("no JSON whatever makes the gateway fail: it answers, or says what is wrong", async () => {
  const { engine, bugs, gateway } = build();
  const statuses = new Set<number>();
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PATHS), request, async (path, body) => {
      const response = await gateway.handle(post(path, JSON.stringify(body)));
      const text = await response.text();
      statuses.add(response.status);
      assert.ok([200, 400, 404].includes(response.status), `${response.status}: ${text}`);
      if (response.status !== 200) assert.match(JSON.parse(text).error.message, /^Cannot /);
      else if (text.startsWith("data: ")) assert.ok(text.endsWith("data: [DONE]\n\n"), text);
      else assert.ok(JSON.parse(text).choices.length > 0);
    }),
    { numRuns: 2000 },
  );
  assert.deepEqual(bugs, []);
  assert.equal(engine.active, 0);
  // Of what is drawn some can be answered, and some can't.
  assert.ok(statuses.has(200) && statuses.has(400));
});

Deno.test("no bytes whatever do either, nor paths, nor headers", async () => {
  const { bugs, gateway } = build();
  const bytes = fc.uint8Array({ maxLength: 64 });
  await fc.assert(fc.asyncProperty(fc.constantFrom(...PATHS), bytes, async (path, body) => {
    const response = await gateway.handle(post(path, new Uint8Array(body)));
    assert.equal(response.status, 400, await response.text());
  }));
  const header = fc.string({ maxLength: 32 }).map((text) => text.replaceAll(/[^\x20-\x7e]/g, ""));
  await fc.assert(
    fc.asyncProperty(
      fc.webPath(),
      header,
      header,
      fc.constantFrom("GET", "POST", "PUT", "OPTIONS", "HEAD"),
      async (path, authorization, origin, method) => {
        const { status, body } = await gateway.handle(
          new Request(`http://localhost${path.replace(/^\/*/, "/")}`, {
            method,
            headers: { authorization, origin },
          }),
        );
        await body?.cancel();
        assert.ok(status < 500, `${status}`);
      },
    ),
  );
  assert.deepEqual(bugs, []);
});

Deno.test("JSON that is deep, or has the same field a million times, is refused", async () => {
  const { gateway, bugs } = build();
  for (const body of ["[".repeat(BODY_BYTES_MAX - 10), `${'{"a":'.repeat(500_000)}1${"}".repeat(500_000)}`]) {
    const { status } = await gateway.handle(post(PATHS[0], body));
    assert.equal(status, 400);
  }
  assert.deepEqual(bugs, []);
});

/** A body of which no more than these bytes ever come, and what it is told of its end. */
function stuckBody(
  bytes: number,
): { readonly stream: ReadableStream<Uint8Array>; readonly cancelled: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new Uint8Array(bytes)),
    cancel: () => resolve(),
  });
  return { stream, cancelled: promise };
}

Deno.test("a body that does not come is waited for, but not for ever", async () => {
  const { gateway, clock } = build();
  const { stream, cancelled } = stuckBody(10);
  const answer = gateway.handle(post(PATHS[0], stream));
  clock.advanceTo(BODY_MS_MAX);
  const response = await answer;
  assert.equal(response.status, 408);
  assert.match((await response.json()).error.message, /30000 ms/);
  await cancelled;
  assert.equal(clock.pending, 0);
});

Deno.test("bodies that come slowly can't fill the memory together", async () => {
  const { gateway, clock } = build();
  const bytes = BODY_BYTES_MAX;
  const fitting = Math.floor(BODY_BYTES_TOTAL_MAX / bytes);
  const waiting = Array.from(
    { length: fitting },
    () => gateway.handle(post(PATHS[0], stuckBody(bytes).stream)),
  );
  // Each of them takes a turn of the event loop to arrive; the one too many is refused after them.
  const one = await gateway.handle(post(PATHS[0], stuckBody(bytes).stream));
  assert.deepEqual([one.status, one.headers.get("retry-after")], [429, "1"]);
  clock.advanceTo(BODY_MS_MAX);
  for (const { status } of await Promise.all(waiting)) assert.equal(status, 408);
  // And there is room again.
  assert.equal((await gateway.handle(post(PATHS[0], JSON.stringify(VALID)))).status, 200);
});

Deno.test("a thousand clients that take one piece and no more hold one piece each, and then count as gone", async () => {
  const { engine, clock, gateway, bugs } = build({ atOnce: 1000 });
  const body = JSON.stringify({ ...VALID, max_tokens: 500, stream: true });
  const readers = await Promise.all(Array.from({ length: 1000 }, async () => {
    const response = await gateway.handle(post(PATHS[0], body));
    const reader = response.body!.getReader();
    await reader.read();
    return reader;
  }));
  // Until each of them stands still.
  while (clock.pending < 1000) await Promise.resolve();
  assert.equal(engine.active, 1000);
  // One that was read, one that waits to be, and at most one on its way.
  assert.ok(engine.drawn <= 3000, `${engine.drawn} tokens were drawn`);
  clock.advanceTo(STALL_MS_MAX);
  await engine.whenActive(0);
  assert.equal(clock.pending, 0);
  for (const reader of readers) await assert.rejects(reader.read(), /took nothing/);
  assert.deepEqual(bugs, []);
});

Deno.test("a thousand clients at once: those that there is room for are answered, the others told to come back", async () => {
  const { engine, gateway } = build({ atOnce: 64, waitingMax: 256 });
  const responses = await Promise.all(
    Array.from({ length: 1000 }, () => gateway.handle(post(PATHS[1], JSON.stringify(VALID)))),
  );
  const count = (status: number) => responses.filter((response) => response.status === status).length;
  assert.deepEqual([count(200), count(429)], [64 + 256, 1000 - 64 - 256]);
  assert.ok(engine.activeMax <= 64);
});

/** A connection on which bytes are sent as they are. */
async function connection(port: number, text: string): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(text)).catch(ended);
  return connection;
}

/** The other side may be quicker to end a connection than we are to use it. */
function ended(error: unknown): void {
  if (!(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe)) throw error;
}

/** Reads until the other side ends the connection. */
async function untilEnded(connection: Deno.TcpConn): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  const bytes = new Uint8Array(65_536);
  try {
    for (let count = await connection.read(bytes); count !== null; count = await connection.read(bytes)) {
      text += decoder.decode(bytes.subarray(0, count), { stream: true });
    }
  } catch (error) {
    ended(error);
  } finally {
    connection.close();
  }
  return text;
}

Deno.test("a thousand connections whose heads never end are ended, and disturb nobody", async () => {
  await using served = await serve({}, { headMsMax: 1000 });
  const { port } = served.listening;
  const slow = await Promise.all(
    Array.from(
      { length: 1000 },
      () => connection(port, "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "),
    ),
  );
  assert.equal(
    (await served.post("/v1/completions", VALID).then((response) => response.text())).length > 0,
    true,
  );
  for (const text of await Promise.all(slow.map(untilEnded))) assert.match(text, /^(HTTP\/1\.1 408 [^]*)?$/);
});

Deno.test("a thousand connections that ask and never read are answered within bounds, and freed when they go", async () => {
  await using served = await serve({ atOnce: 64, waitingMax: 256 });
  const { engine } = served;
  const body = JSON.stringify({ ...VALID, max_tokens: 500, stream: true });
  const ask = `POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${body.length}\r\n\r\n${body}`;
  // They hold their turns: of each answer nothing more is drawn than what was asked for first.
  engine.pause = (place, signal) =>
    place < 1
      ? Promise.resolve()
      : new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason), { once: true })
      );
  const slow = await Promise.all(Array.from({ length: 1000 }, () => connection(served.listening.port, ask)));
  const refusals = 'murmuration_gateway_requests_total{route="completions",status="429"} 680';
  while (!(await (await served.fetch("/metrics")).text()).includes(refusals));
  assert.equal(engine.active, 64);
  for (const connection of slow) connection.close();
  await engine.whenActive(0);
  engine.pause = () => Promise.resolve();
  // Whoever waited for a turn has gone as well.
  while (!(await (await served.fetch("/metrics")).text()).includes("murmuration_gateway_answers_waiting 0"));
  assert.equal((await served.openai.completions.create({ model, prompt: "x" })).usage?.completion_tokens, 16);
  assert.deepEqual(served.bugs, []);
});

Deno.test("requests that are none, or are no requests for us, end well", async () => {
  await using served = await serve({}, { connectionsMax: 50 });
  const { port } = served.listening;
  for (
    const [text, expected] of [
      ["nonsense\r\n\r\n", /^HTTP\/1.1 400/],
      ["GET / HTTP/1.1\r\nHost: exa mple\r\nConnection: close\r\n\r\n", /^HTTP\/1.1 400/],
      ["GET http://[ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", /^HTTP\/1.1 400/],
      ["TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", /^HTTP\/1.1 40[05]/],
      ["GET //evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", /^HTTP\/1.1 4/],
      [`GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ${"a".repeat(100_000)}\r\n\r\n`, /^HTTP\/1.1 431/],
      ["GET /healthz HTTP/1.0\r\n\r\n", /^HTTP\/1.1 [24]/],
    ] as const
  ) assert.match(await untilEnded(await connection(port, text)), expected, text.slice(0, 60));
  assert.equal((await served.fetch("/healthz")).status, 200);
  assert.deepEqual(served.bugs, []);
});
