import assert from "node:assert/strict";
import { listen, type ListenOptions } from "./listen.ts";

const HERE: ListenOptions = { hostname: "127.0.0.1", port: 0 };

async function connect(port: number, text: string): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(text));
  return connection;
}

/** Reads until the other side ends the connection. */
async function rest(connection: Deno.TcpConn): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  try {
    for await (const bytes of connection.readable) text += decoder.decode(bytes, { stream: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
  return text;
}

const GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

Deno.test("requests arrive whole, and answers leave whole", async () => {
  await using server = await listen(async (request) => {
    const told = [request.method, request.url, request.headers.get("x-a"), await request.text()];
    return Response.json(told, { status: 201, headers: { "x-b": "c" } });
  }, HERE);
  const response = await fetch(`http://127.0.0.1:${server.port}/a%20b?c=d`, {
    method: "PUT",
    headers: { "x-a": "b" },
    body: "é".repeat(100_000),
  });
  assert.deepEqual([response.status, response.headers.get("x-b")], [201, "c"]);
  const url = `http://127.0.0.1:${server.port}/a%20b?c=d`;
  assert.deepEqual(await response.json(), ["PUT", url, "b", "é".repeat(100_000)]);
});

Deno.test("a path names no other site, however many slashes it begins with", async () => {
  await using server = await listen(({ url }) => Promise.resolve(new Response(url)), HERE);
  const ask = (target: string) =>
    connect(server.port, `GET ${target} HTTP/1.1\r\nHost: here.example\r\nConnection: close\r\n\r\n`);
  for (const target of ["//localhost/v1/models", "/\\\\localhost/v1/models", "///localhost/"]) {
    using connection = await ask(target);
    const url = (await rest(connection)).split(/\s/).find((word) => word.startsWith("http:"));
    assert.equal(new URL(url!).hostname, "here.example", target);
  }
});

Deno.test("a body that nobody read does not spoil the connection", async () => {
  await using server = await listen(() => Promise.resolve(new Response("no", { status: 413 })), HERE);
  for (let count = 0; count < 3; count++) {
    const response = await fetch(`http://127.0.0.1:${server.port}/`, {
      method: "POST",
      body: "x".repeat(1_000_000),
    });
    assert.deepEqual([response.status, await response.text()], [413, "no"]);
  }
});

Deno.test("a body that was given up in the middle does not spoil it either", async () => {
  await using server = await listen(async ({ body }) => {
    const reader = body!.getReader();
    await reader.read();
    await reader.cancel();
    return new Response("too large", { status: 413 });
  }, HERE);
  const chunk = new Uint8Array(65_536);
  for (let count = 0; count < 3; count++) {
    // Without a length that could be looked at.
    const body = ReadableStream.from(Array(100).fill(chunk));
    const response = await fetch(`http://127.0.0.1:${server.port}/`, { method: "POST", body });
    assert.deepEqual([response.status, await response.text()], [413, "too large"]);
  }
});

Deno.test("an answer that breaks off ends the connection, though its client takes nothing", async () => {
  const broken = Promise.withResolvers<void>();
  const waiting = Promise.withResolvers<ReadableStreamDefaultController<Uint8Array>>();
  await using server = await listen((request) => {
    request.signal.addEventListener("abort", () => broken.resolve());
    let count = 0;
    return Promise.resolve(
      new Response(
        new ReadableStream<Uint8Array>({
          pull(controller) {
            // Far more than the machine keeps for a client that reads nothing.
            controller.enqueue(new Uint8Array(32 * 1024 * 1024).fill(120));
            if (++count === 2) waiting.resolve(controller);
          },
        }),
      ),
    );
  }, HERE);
  const connection = await connect(server.port, GET);
  const head = new Uint8Array(12);
  await connection.read(head);
  assert.equal(new TextDecoder().decode(head), "HTTP/1.1 200");
  (await waiting.promise).error(new Error("it broke"));
  await broken.promise;
  assert.ok(!(await rest(connection)).endsWith("0\r\n\r\n"));
});

Deno.test("whoever hangs up is heard of, whether the answer has begun or not", async () => {
  const [asked, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<unknown>()];
  await using server = await listen(({ signal }) => {
    signal.addEventListener("abort", () => gone.resolve(signal.reason), { once: true });
    asked.resolve();
    return new Promise(() => {});
  }, HERE);
  const connection = await connect(server.port, GET);
  await asked.promise;
  connection.close();
  assert.match(String(await gone.promise), /client is gone/);

  const cancelled = Promise.withResolvers<void>();
  await using streaming = await listen(() =>
    Promise.resolve(
      new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new Uint8Array(1)),
          cancel: () => cancelled.resolve(),
        }),
      ),
    ), HERE);
  const other = await connect(streaming.port, GET);
  await other.read(new Uint8Array(1));
  other.close();
  await cancelled.promise;
});

Deno.test("connections that say nothing are ended, before the first request and after it", async () => {
  await using server = await listen(() => Promise.resolve(new Response("hi")), {
    ...HERE,
    headMsMax: 300,
    idleMsMax: 300,
  });
  assert.match(await rest(await connect(server.port, "")), /^(HTTP\/1\.1 408 [^]*)?$/);
  assert.match(await rest(await connect(server.port, GET)), /^HTTP\/1.1 200 OK/);
});

Deno.test("there are no more connections than were allowed", async () => {
  await using server = await listen(() => Promise.resolve(new Response("hi")), {
    ...HERE,
    connectionsMax: 2,
  });
  const held = [await connect(server.port, GET), await connect(server.port, GET)];
  for (const connection of held) await connection.read(new Uint8Array(1000));
  // Ended before, or after, it could ask.
  const third = await connect(server.port, GET).then(rest, (error) => {
    assert.ok(
      error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe,
      `${error}`,
    );
    return "";
  });
  assert.equal(third, "");
  for (const connection of held) connection.close();
});

Deno.test("a port that is taken is an error, and disposing ends what is under way", async () => {
  const asked = Promise.withResolvers<AbortSignal>();
  const server = await listen(({ signal }) => {
    asked.resolve(signal);
    return new Promise(() => {});
  }, HERE);
  await assert.rejects(
    listen(() => Promise.resolve(new Response()), { ...HERE, port: server.port }),
    /EADDRINUSE/,
  );
  const connection = await connect(server.port, GET);
  const signal = await asked.promise;
  await server[Symbol.asyncDispose]();
  assert.equal(await rest(connection), "");
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
});
