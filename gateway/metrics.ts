/** What is counted for whoever watches the gateway, in Prometheus's format. It decides nothing. */

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Engine } from "./engine.ts";
import type { Turns } from "./turns.ts";

const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const TOKENS_PER_SECOND = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/** The gateway's figures. */
export class GatewayMetrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<"route" | "status">;
  readonly #tokens: Counter<"kind">;
  readonly #firstToken: Histogram;
  readonly #pace: Histogram;

  constructor(engine: Pick<Engine, "figures">, turns: Turns) {
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: "murmuration_gateway_requests_total",
      help: "Requests that were answered, by route and status",
      labelNames: ["route", "status"],
      registers,
    });
    this.#tokens = new Counter({
      name: "murmuration_gateway_tokens_total",
      help: "Tokens of prompts that were taken (in), and tokens that were drawn (out)",
      labelNames: ["kind"],
      registers,
    });
    this.#firstToken = new Histogram({
      name: "murmuration_gateway_first_token_seconds",
      help: "Time from a request to the first token of each of its choices",
      buckets: SECONDS,
      registers,
    });
    this.#pace = new Histogram({
      name: "murmuration_gateway_tokens_per_second",
      help: "Pace of an answer after its first token",
      buckets: TOKENS_PER_SECOND,
      registers,
    });
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    gauge(
      "murmuration_gateway_answers",
      "Answers that are being generated, or taken by their clients",
      () => turns.underWay,
    );
    gauge("murmuration_gateway_answers_waiting", "Answers that wait for their turn", () => turns.waiting);
    gauge("murmuration_sessions", "Sessions under way in the swarm", () => engine.figures().sessions);
    new Counter({
      name: "murmuration_session_repairs_total",
      help: "Times that a session went on elsewhere, as part of its path was lost",
      registers,
      collect() {
        this.reset();
        this.inc(engine.figures().repairs);
      },
    });
  }

  /** A request was answered. */
  answered(route: string, status: number): void {
    this.#requests.inc({ route, status: String(status) });
  }

  /** A prompt was taken. */
  tokensRead(count: number): void {
    this.#tokens.inc({ kind: "in" }, count);
  }

  /** A token was drawn. */
  tokenDrawn(): void {
    this.#tokens.inc({ kind: "out" });
  }

  /** A first token was drawn. */
  firstToken(seconds: number): void {
    this.#firstToken.observe(seconds);
  }

  /** An answer came at this pace. */
  pace(tokensPerSecond: number): void {
    this.#pace.observe(tokensPerSecond);
  }

  /** All of it, as Prometheus reads it. */
  async toResponse(): Promise<Response> {
    return new Response(await this.#registry.metrics(), {
      headers: { "content-type": this.#registry.contentType },
    });
  }
}
