/**
 * Answers a request whose meaning is settled: generates its choices, and tells
 * them whole or as a stream, in the shape that the endpoint asks for. Whatever
 * ends it early (a client that hangs up, an engine that fails) ends all of its
 * choices at once.
 */

import type { Clock } from "../actors/core/clock.ts";
import type { DrawnToken, Sampling } from "../run/sampling.ts";
import { answer, type Finish, type Piece, stopWatch } from "./answer.ts";
import type { Engine, Model } from "./engine.ts";
import { DONE_EVENT, EVENT_STREAM_HEADERS, eventStream, jsonEvent } from "./event_stream.ts";
import type { Client } from "./keys.ts";
import { merged } from "./merged.ts";
import type { GatewayMetrics } from "./metrics.ts";
import type { Problem } from "./problem.ts";
import type { AnswerToken } from "./token_account.ts";
import type { Turns } from "./turns.ts";

/** One text to come. */
export interface Choice {
  readonly prompt: Int32Array;
  /** Whether the answer goes on with the prompt's text, rather than being one of its own. */
  readonly goesOn: boolean;
  /** Text that the answer begins with. */
  readonly echo: string;
  readonly tokensMax: number;
  readonly sampling: Sampling;
}

/** How answers are told. */
export interface Shape {
  /** What the ids of answers begin with. */
  readonly idPrefix: string;
  readonly object: string;
  readonly chunkObject: string;
  /** A whole choice. */
  choice(index: number, text: string, tokens: readonly AnswerToken[] | undefined, finish: Finish): object;
  /** What of a choice's stream comes before its first piece. */
  opening(index: number): readonly object[];
  /** What tells a piece in a stream. */
  chunks(index: number, piece: Piece, logProbabilities: boolean): readonly object[];
}

/** What is asked for. */
export interface Completion {
  readonly model: Model;
  readonly choices: readonly Choice[];
  readonly stops: readonly string[];
  readonly logProbabilities: boolean;
  /** Tokens of all prompts, each counted once. */
  readonly promptTokens: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly shape: Shape;
}

/** What answering takes. */
export interface CompletionParts {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly turns: Turns;
  readonly metrics: GatewayMetrics;
  /** What a client is told of an error. */
  readonly problemOf: (error: unknown) => Problem;
}

/**
 * Answers.
 *
 * @param id of the answer, without its prefix.
 * @param signal aborted when the client is gone.
 * @throws {Problem} if a limit of the client, or of the gateway, is reached.
 * @throws what the engine throws before its first token.
 */
export async function complete(
  parts: CompletionParts,
  completion: Completion,
  client: Client,
  id: string,
  signal: AbortSignal,
): Promise<Response> {
  const begun = client.begin(completion.choices.length);
  const work = new CompletionWork(parts, completion, client, id, signal);
  if (!completion.stream) {
    using _ = begun;
    return Response.json(await work.whole());
  }
  const events = work.events(begun);
  // Until there is something to tell, what goes wrong can still be told by the status.
  const first = await events.next();
  return new Response(
    eventStream(parts.clock, startingWith(first, events), () => work.abandon()),
    { headers: EVENT_STREAM_HEADERS },
  );
}

/** One request's work. */
class CompletionWork {
  readonly #parts: CompletionParts;
  readonly #completion: Completion;
  readonly #client: Client;
  readonly #head: { readonly id: string; readonly created: number; readonly model: string };
  readonly #controller = new AbortController();
  /** Aborted when the client is gone. */
  readonly #gone: AbortSignal;
  /** Aborted when there is nothing more to do. */
  readonly #signal: AbortSignal;
  readonly #startMs: number;
  /** Tokens that were drawn, and came to be told. */
  #taken = 0;
  #abandoned = false;

  constructor(
    parts: CompletionParts,
    completion: Completion,
    client: Client,
    id: string,
    signal: AbortSignal,
  ) {
    this.#parts = parts;
    this.#completion = completion;
    this.#client = client;
    this.#startMs = parts.clock.nowMs();
    this.#head = {
      id: completion.shape.idPrefix + id,
      created: Math.floor(parts.clock.epochMs() / 1000),
      model: completion.model.id,
    };
    this.#gone = signal;
    this.#signal = AbortSignal.any([signal, this.#controller.signal]);
  }

  /** Ends whatever is under way, as nobody waits for it any more. */
  abandon(): void {
    this.#abandoned = true;
    this.#end();
  }

  /** All of it as one object. */
  async whole(): Promise<object> {
    const { choices, shape, logProbabilities } = this.#completion;
    const told = choices.map(() => ({ text: "", tokens: [] as AnswerToken[], finish: "stop" as Finish }));
    for await (const { index, item: { text, tokens, finish } } of this.#pieces()) {
      told[index].text += text;
      told[index].tokens.push(...tokens);
      told[index].finish = finish ?? told[index].finish;
    }
    return {
      ...this.#head,
      object: shape.object,
      choices: told.map(({ text, tokens, finish }, index) =>
        shape.choice(index, text, logProbabilities ? tokens : undefined, finish)
      ),
      usage: this.#usage(),
    };
  }

  /** All of it as events; throws what goes wrong before the first, and tells what goes wrong after it. */
  async *events(begun: Disposable): AsyncGenerator<string, void, void> {
    using _ = begun;
    const { shape, includeUsage, logProbabilities } = this.#completion;
    const chunk = (choices: readonly object[], usage: object | null = null) =>
      jsonEvent({ ...this.#head, object: shape.chunkObject, choices, ...includeUsage ? { usage } : {} });
    const opened = new Set<number>();
    try {
      for await (const { index, item } of this.#pieces()) {
        const opening = opened.has(index) ? [] : shape.opening(index);
        opened.add(index);
        const chunks = [...opening, ...shape.chunks(index, item, logProbabilities)];
        if (chunks.length > 0) yield chunks.map((choice) => chunk([choice])).join("");
      }
      yield (includeUsage ? chunk([], this.#usage()) : "") + DONE_EVENT;
    } catch (error) {
      if (opened.size === 0 || this.#gone.aborted || this.#abandoned) throw error;
      yield jsonEvent(this.#parts.problemOf(error));
    }
  }

  #pieces() {
    const { choices, promptTokens } = this.#completion;
    this.#parts.turns.expect(choices.length);
    this.#client.charge(promptTokens);
    this.#parts.metrics.tokensRead(promptTokens);
    return merged(choices.map((choice) => this.#answer(choice)), () => this.#end());
  }

  #end(): void {
    this.#controller.abort(new DOMException("Cannot go on: the request is over", "AbortError"));
  }

  async *#answer(choice: Choice): AsyncGenerator<Piece, void, void> {
    const { model: { id, tokenizer }, stops, logProbabilities } = this.#completion;
    const { prompt, goesOn, tokensMax, sampling, echo } = choice;
    using _ = await this.#parts.turns.take(this.#signal);
    this.#signal.throwIfAborted();
    const read = { tokenizer, stops, after: goesOn ? prompt : [] };
    const ends = stopWatch(read);
    const generation = {
      model: id,
      prompt,
      tokensMax,
      sampling,
      stopTokens: tokenizer.endOfText ?? [],
      isLast: (token: number) => {
        this.#wasDrawn();
        return ends?.(token) ?? false;
      },
    };
    const drawn = this.#measured(this.#parts.engine.generate(generation, this.#signal));
    yield* answer({ ...read, echo, logProbabilities, drawn });
  }

  /** Whoever takes it, and whether anybody does: it was computed. */
  #wasDrawn(): void {
    this.#client.charge(1);
    this.#parts.metrics.tokenDrawn();
  }

  async *#measured(drawn: AsyncIterable<DrawnToken>): AsyncGenerator<DrawnToken, void, void> {
    const { clock, metrics } = this.#parts;
    let firstMs: number | undefined;
    let count = 0;
    try {
      for await (const token of drawn) {
        if (firstMs === undefined) {
          firstMs = clock.nowMs();
          metrics.firstToken((firstMs - this.#startMs) / 1000);
        }
        count++;
        this.#taken++;
        yield token;
      }
    } finally {
      // The first one is the prompt's.
      if (count > 1) metrics.pace((count - 1) * 1000 / Math.max(1e-3, clock.nowMs() - firstMs!));
    }
  }

  #usage(): object {
    const { promptTokens } = this.#completion;
    return {
      prompt_tokens: promptTokens,
      completion_tokens: this.#taken,
      total_tokens: promptTokens + this.#taken,
    };
  }
}

async function* startingWith<Item>(
  first: IteratorResult<Item, void>,
  rest: AsyncGenerator<Item, void, void>,
): AsyncGenerator<Item, void, void> {
  try {
    if (first.done) return;
    yield first.value;
    yield* rest;
  } finally {
    await rest.return();
  }
}
