/**
 * Gives a handler of requests a port. Whoever is slow is bounded here: to send a
 * head, to send nothing more, to take an answer. It knows nothing of what is
 * asked. Node's server does the work, as Deno's own waits for heads for ever.
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { BODY_MS_MAX, CONNECTIONS_MAX, HEAD_MS_MAX, IDLE_MS_MAX } from "./limits.ts";

/** Where, and within which bounds. */
export interface ListenOptions {
  readonly hostname: string;
  /** 0 takes any free one. */
  readonly port: number;
  readonly connectionsMax?: number;
  readonly headMsMax?: number;
  readonly idleMsMax?: number;
}

/** A server that listens. */
export interface Listening extends AsyncDisposable {
  readonly hostname: string;
  readonly port: number;
}

/**
 * Listens until it is disposed of; that breaks off whatever is under way.
 *
 * @param handle answers; never throws. The request's signal is aborted when the client is gone.
 * @throws what the machine says if it can't listen there.
 */
export async function listen(
  handle: (request: Request) => Promise<Response>,
  options: ListenOptions,
): Promise<Listening> {
  const { hostname, port, connectionsMax = CONNECTIONS_MAX } = options;
  const headMs = options.headMsMax ?? HEAD_MS_MAX;
  const server = createServer(
    { connectionsCheckingInterval: Math.min(1000, headMs) },
    (incoming, outgoing) => void serve(handle, incoming, outgoing),
  );
  server.headersTimeout = headMs;
  // A backstop: the body's own bound is kept by who reads it.
  server.requestTimeout = headMs + 2 * BODY_MS_MAX;
  server.keepAliveTimeout = options.idleMsMax ?? IDLE_MS_MAX;
  server.maxConnections = connectionsMax;
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen({ host: hostname, port }, () => listening.resolve());
  await listening.promise;
  const address = server.address() as AddressInfo;
  return {
    hostname: address.address,
    port: address.port,
    [Symbol.asyncDispose]() {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      return promise;
    },
  };
}

async function serve(
  handle: (request: Request) => Promise<Response>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  const leave = () => gone.abort(new DOMException("The client is gone", "AbortError"));
  outgoing.once("close", leave);
  outgoing.on("error", leave);
  incoming.on("error", leave);
  const request = requestOf(incoming, gone.signal);
  const response = request ? await handle(request) : new Response("Bad request\n", { status: 400 });
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (incoming.method === "HEAD" || response.body === null) {
    await response.body?.cancel();
    outgoing.end();
  } else {
    await send(response.body, outgoing, gone.signal);
  }
  // What nobody wanted of a body goes by, so that its sender reads the answer and can ask again.
  incoming.resume();
}

/** Sends as fast as the client takes it. */
async function send(
  body: ReadableStream<Uint8Array>,
  outgoing: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  const reader = body.getReader();
  const { promise: left, resolve: leave } = Promise.withResolvers<void>();
  const onGone = () => {
    leave();
    reader.cancel().catch(() => {});
  };
  // The answer broke off: so does the connection, as its end would look like the answer's.
  reader.closed.catch(() => outgoing.destroy());
  if (gone.aborted) onGone();
  else gone.addEventListener("abort", onGone, { once: true });
  try {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      if (outgoing.write(value)) continue;
      const drained = Promise.withResolvers<void>();
      outgoing.once("drain", drained.resolve);
      await Promise.race([drained.promise, left]);
    }
    outgoing.end();
  } catch {
    // As above.
  }
}

/** A body that is read no faster than it is asked for. */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  let chunks: AsyncIterator<Uint8Array> | undefined;
  return new ReadableStream({
    async pull(controller) {
      chunks ??= incoming.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await chunks?.return?.();
    },
  }, { highWaterMark: 0 });
}

/** `undefined` if it is none that could be answered. */
function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request | undefined {
  const { method = "GET", url = "/", headers } = incoming;
  try {
    const hasBody = method !== "GET" && method !== "HEAD";
    const site = `http://${headers.host}`;
    // A path that begins with two slashes would be read as another site's.
    return new Request(url.startsWith("/") ? site + url : new URL(url, site), {
      method,
      headers: Object.entries(headers).flatMap(([name, value]): [string, string][] =>
        [value ?? []].flat().map((one) => [name, one])
      ),
      signal,
      ...hasBody ? { body: bodyOf(incoming), duplex: "half" } : {},
    });
  } catch (error) {
    // A host that is none, a method that fetch knows no request for.
    if (!(error instanceof TypeError)) throw error;
    return undefined;
  }
}
