/**
 * Asks the swarm what follows a text: sends token ids through all stages and
 * hands back the logits of the last position. It holds no weights, chooses no
 * token, and recomputes the prefix each time.
 */

import type { Context, Envelope } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { Dispatch, DISPATCH_TIMER } from "./dispatch.ts";
import { READ_ATTEMPTS_MAX, READS_MAX, WALK_TIMEOUT_MS_MIN } from "./limits.ts";
import { type Message, type MessageOf, type Tensor, type Walk, walkKey } from "./messages.ts";
import { behaviour, type Role } from "./role.ts";
import { stageService } from "../routing/mod.ts";

/** What an asker is made of. */
export interface AskerOptions {
  /** The answer to a `read`: logits `[1, V]`. */
  readonly onLogits: (request: number, logits: Tensor) => void;
  readonly onFailed: (request: number, reason: string) => void;
}

interface Reading {
  readonly request: number;
  readonly tokens: Int32Array;
  readonly walk: Walk;
  readonly timer: Timer;
}

class Asker implements Role {
  readonly #context: Context<Message>;
  readonly #options: AskerOptions;
  readonly #dispatch: Dispatch;
  readonly #readings = new Map<string, Reading>();

  constructor(context: Context<Message>, options: AskerOptions) {
    this.#context = context;
    this.#options = options;
    this.#dispatch = new Dispatch(context, { broken: (walk, reason) => this.#again(walkKey(walk), reason) });
    context.tell({ actor: "scout" }, { kind: "watch", service: stageService(0), subscriber: context.actor });
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "read":
        return this.#read(message.request, message.tokens, 1);
      case "admitted":
        return this.#dispatch.admitted(from, message);
      case "refused":
        return this.#dispatch.refused(from, message);
      case "processed":
        return void this.#dispatch.processed(from, message);
      case "found":
        return this.#dispatch.found(message.announcements);
      case "logits":
        return this.#onLogits(message);
      case "failed":
        return this.#again(walkKey(message.walk), `stage ${message.stage}: ${message.reason}`);
      case "peerLost":
        return this.#dispatch.lost(message.peer);
      case "timer":
        if (message.name === DISPATCH_TIMER) return this.#dispatch.timer(message.key);
        return this.#giveUp(message.key);
    }
  }

  #read(request: number, tokens: Int32Array, attempt: number): void {
    if (this.#readings.size >= READS_MAX) {
      return this.#options.onFailed(
        request,
        `Cannot read: ${this.#readings.size} of ${READS_MAX} are under way`,
      );
    }
    const walk: Walk = {
      purpose: "generate",
      term: 0,
      step: request,
      round: this.#nonce(),
      microBatch: 0,
      attempt,
    };
    const key = walkKey(walk);
    const timer = this.#context.after(WALK_TIMEOUT_MS_MIN, { kind: "timer", name: "read", key });
    this.#readings.set(key, { request, tokens, walk, timer });
    this.#dispatch.offer({
      kind: "forward",
      walk,
      stage: 0,
      mask: [],
      corpus: null,
      trainer: this.#context.peer,
      coordinator: this.#context.peer,
      input: { dataType: "i32", shape: [1, tokens.length], data: tokens },
    }, tokens.length);
  }

  /** Two readers may ask at once; their walks must not be taken for one another. */
  #nonce(): number {
    return this.#context.entropy.integer(2 ** 31);
  }

  #giveUp(key: string): void {
    const reading = this.#readings.get(key);
    if (reading !== undefined) this.#dispatch.giveUp(reading.walk);
    this.#again(key, `nothing was heard for ${WALK_TIMEOUT_MS_MIN} ms`);
  }

  #onLogits({ walk, logits }: MessageOf<"logits">): void {
    const reading = this.#forget(walkKey(walk));
    if (reading !== undefined) this.#options.onLogits(reading.request, logits);
  }

  #again(key: string, reason: string): void {
    const reading = this.#forget(key);
    if (reading === undefined) return;
    const { request, tokens, walk } = reading;
    if (walk.attempt >= READ_ATTEMPTS_MAX) this.#options.onFailed(request, `Cannot read: ${reason}`);
    else this.#read(request, tokens, walk.attempt + 1);
  }

  #forget(key: string): Reading | undefined {
    const reading = this.#readings.get(key);
    if (reading === undefined) return undefined;
    reading.timer.cancel();
    this.#readings.delete(key);
    this.#dispatch.withdraw(reading.walk);
    return reading;
  }
}

/** The role of somebody who asks what follows. */
export function asker(options: AskerOptions) {
  return behaviour("asker", (context) => new Asker(context, options));
}
