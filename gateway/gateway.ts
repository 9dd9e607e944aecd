/**
 * OpenAI's API over an engine: who asks, what for, within which limits. It is a
 * function from requests to answers; `listen.ts` gives it a port. It knows neither
 * peers nor tensors, and it never tells a client what went wrong inside.
 */

import type { Clock } from "../actors/core/clock.ts";
import type { Entropy } from "../actors/core/entropy.ts";
import { ChatTemplateError } from "../run/chat_template.ts";
import { BodyReader } from "./body.ts";
import { readChat } from "./chat.ts";
import { complete, type Completion } from "./completion.ts";
import { readCompletion } from "./completions.ts";
import { type Engine, EngineBusy, EngineUnavailable, type Model } from "./engine.ts";
import { type Client, Clients, type KeyDescription } from "./keys.ts";
import { ANSWERS_AT_ONCE, ANSWERS_WAITING_MAX } from "./limits.ts";
import { GatewayMetrics } from "./metrics.ts";
import { admitOrigin, type OriginRules, preflight } from "./origins.ts";
import { Page } from "./page.ts";
import { Problem } from "./problem.ts";
import { Turns } from "./turns.ts";

/** What a gateway is made of. */
export interface GatewayParts {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** None: whoever reaches the gateway may ask. */
  readonly keys?: readonly KeyDescription[];
  readonly origins?: OriginRules;
  /** Answers that are generated at once. */
  readonly atOnce?: number;
  /** Answers that wait for their turn. */
  readonly waitingMax?: number;
  /** Told of what should not have happened. */
  readonly onBug?: (error: unknown) => void;
}

/** When to ask again while something that is needed is not there. */
const UNAVAILABLE_RETRY_SECONDS = 5;

/** Client closed the request: nobody reads this answer. The number is nginx's. */
const GONE = 499;

const GENERIC_HEADERS = { "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" };

/** What is done at one place. */
interface Route {
  /** As figures call it. */
  readonly name: string;
  readonly method: "GET" | "POST";
  readonly answer: (request: Request) => Response | Promise<Response>;
}

/** Answers requests. */
export class Gateway {
  readonly #parts: GatewayParts;
  readonly #clients: Clients;
  readonly #origins: OriginRules;
  readonly #turns: Turns;
  readonly #bodies: BodyReader;
  readonly #page = new Page();
  readonly #metrics: GatewayMetrics;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#clients = new Clients(parts.clock, parts.keys ?? []);
    this.#origins = parts.origins ?? { allowed: [], loopbackOnly: this.#clients.open };
    this.#turns = new Turns({
      atOnce: parts.atOnce ?? ANSWERS_AT_ONCE,
      waitingMax: parts.waitingMax ?? ANSWERS_WAITING_MAX,
    });
    this.#bodies = new BodyReader(parts.clock);
    this.#metrics = new GatewayMetrics(parts.engine, this.#turns);
  }

  /** Answers a request; never throws. Its signal says when the client is gone. */
  async handle(request: Request): Promise<Response> {
    const url = new URL(request.url);
    let route: Route | undefined;
    let origin: Readonly<Record<string, string>> = {};
    const problem = (error: unknown) => request.signal.aborted ? gone() : this.problemOf(error).toResponse();
    let response: Response;
    try {
      route = this.#route(url);
      origin = admitOrigin(this.#origins, request, url);
      response = await this.#answer(route, request, origin);
    } catch (error) {
      response = problem(error);
    }
    for (const [name, value] of Object.entries({ ...GENERIC_HEADERS, ...origin })) {
      response.headers.set(name, value);
    }
    this.#metrics.answered(route?.name ?? "none", response.status);
    return response;
  }

  /** What a client is told of an error. */
  readonly problemOf = (error: unknown): Problem => {
    if (error instanceof Problem) return error;
    if (error instanceof ChatTemplateError) return new Problem(400, error.message, { param: "messages" });
    if (error instanceof EngineBusy) {
      const retryAfterSeconds = error.retryAfterMs / 1000;
      return new Problem(429, error.message, { code: "overloaded", retryAfterSeconds });
    }
    if (error instanceof EngineUnavailable) {
      return new Problem(503, error.message, {
        code: "unavailable",
        retryAfterSeconds: UNAVAILABLE_RETRY_SECONDS,
      });
    }
    this.#parts.onBug?.(error);
    return new Problem(500, "Cannot answer: something is wrong in the gateway", { code: "internal_error" });
  };

  #answer(
    route: Route,
    request: Request,
    origin: Readonly<Record<string, string>>,
  ): Response | Promise<Response> {
    if (request.method === "OPTIONS") return preflight(origin, route.method);
    if (request.method !== route.method && !(request.method === "HEAD" && route.method === "GET")) {
      throw new Problem(405, `Cannot ${request.method} here: only ${route.method} is answered`, {
        headers: { allow: `${route.method}, OPTIONS` },
      });
    }
    return route.answer(request);
  }

  #route({ pathname }: URL): Route {
    const open = (name: string, answer: Route["answer"]): Route => ({ name, method: "GET", answer });
    const guarded = (
      name: string,
      method: Route["method"],
      answer: (request: Request, client: Client) => Response | Promise<Response>,
    ): Route => ({
      name,
      method,
      answer: (request) => answer(request, this.#clients.identify(request.headers.get("authorization"))),
    });
    const completing = (read: typeof readChat) => (request: Request, client: Client) =>
      this.#complete(request, client, read);
    if (this.#page.has(pathname)) return open("page", () => this.#page.toResponse(pathname));
    if (pathname === "/healthz") return open("healthz", () => this.#health());
    if (pathname === "/metrics") return guarded("metrics", "GET", () => this.#metrics.toResponse());
    if (pathname === "/v1/completions") return guarded("completions", "POST", completing(readCompletion));
    if (pathname === "/v1/chat/completions") return guarded("chat", "POST", completing(readChat));
    if (pathname === "/v1/models") return guarded("models", "GET", () => this.#models());
    if (pathname.startsWith(MODEL_PATH)) {
      return guarded("model", "GET", () => Response.json(describe(this.#model(nameIn(pathname)))));
    }
    throw new Problem(404, `Cannot find ${pathname.slice(0, 200)}`, { code: "not_found" });
  }

  async #complete(request: Request, client: Client, read: typeof readChat): Promise<Response> {
    const { engine, clock, entropy } = this.#parts;
    client.admit();
    const body = await this.#bodies.readJson(request);
    const completion: Completion = read(body, (id) => this.#model(id), entropy.integer(2 ** 32));
    const parts = { engine, clock, turns: this.#turns, metrics: this.#metrics, problemOf: this.problemOf };
    const id = [...entropy.bytes(12)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return await complete(parts, completion, client, id, request.signal);
  }

  #models(): Response {
    return Response.json({ object: "list", data: this.#parts.engine.models().map(describe) });
  }

  #model(id: string): Model {
    const model = this.#parts.engine.models().find((model) => model.id === id);
    if (model) return model;
    throw new Problem(
      404,
      `Cannot ask model ${id.slice(0, 256)}: it is not here; /v1/models lists those that are`,
      {
        code: "model_not_found",
        param: "model",
      },
    );
  }

  #health(): Response {
    const { trouble } = this.#parts.engine.figures();
    if (trouble === undefined) return Response.json({ status: "ok" });
    return Response.json({ status: "unavailable", reason: trouble }, { status: 503 });
  }
}

const MODEL_PATH = "/v1/models/";

function nameIn(pathname: string): string {
  try {
    return decodeURIComponent(pathname.slice(MODEL_PATH.length));
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new Problem(400, "Cannot read the model's name: it is not coded as a URL's part is");
  }
}

function describe({ id, createdSeconds, contextTokens }: Model): object {
  return {
    id,
    object: "model",
    created: createdSeconds,
    owned_by: "murmuration",
    context_length: contextTokens,
  };
}

function gone(): Response {
  return new Response(null, { status: GONE });
}
