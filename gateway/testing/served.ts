/** A gateway over a fake engine at a port of this machine, and OpenAI's own client for it. Tests alone use it. */

import OpenAI from "openai";
import { RealClock } from "../../actors/core/real_clock.ts";
import { SeededEntropy } from "../../actors/core/seeded_entropy.ts";
import { Gateway, type GatewayParts } from "../gateway.ts";
import { listen, type Listening, type ListenOptions } from "../listen.ts";
import { FakeEngine } from "./fake_engine.ts";

/** What a test holds. */
export interface Served extends AsyncDisposable {
  readonly engine: FakeEngine;
  readonly gateway: Gateway;
  readonly listening: Listening;
  /** `http://127.0.0.1:PORT` */
  readonly origin: string;
  readonly openai: OpenAI;
  /** What was told to `onBug`. */
  readonly bugs: readonly unknown[];
  fetch(path: string, init?: RequestInit): Promise<Response>;
  post(path: string, body: unknown): Promise<Response>;
}

/** Serves until it is disposed of. */
export async function serve(
  parts: Partial<GatewayParts> & { readonly engine?: FakeEngine } = {},
  options: Partial<ListenOptions> = {},
): Promise<Served> {
  const engine = parts.engine ?? new FakeEngine();
  const bugs: unknown[] = [];
  const gateway = new Gateway({
    clock: new RealClock(),
    entropy: new SeededEntropy(7),
    onBug: (error) => bugs.push(error),
    ...parts,
    engine,
  });
  const listening = await listen((request) => gateway.handle(request), {
    hostname: "127.0.0.1",
    port: 0,
    ...options,
  });
  const origin = `http://127.0.0.1:${listening.port}`;
  const get = (path: string, init?: RequestInit) => fetch(origin + path, init);
  return {
    engine,
    gateway,
    listening,
    origin,
    bugs,
    openai: new OpenAI({ baseURL: `${origin}/v1`, apiKey: "sk-test-of-the-gateway", maxRetries: 0 }),
    fetch: get,
    post: (path, body) =>
      get(path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}
