/**
 * Carries out what the step protocol (`coordination.ts`) decides: sends its
 * commands, sets its timers, notices silence, and tells watchers what happened.
 * It decides nothing about a step itself.
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import {
  type Command,
  Coordination,
  type CoordinationConfig,
  type CoordinationEvent,
} from "./coordination.ts";
import {
  GATHER_MS,
  HELLO_PERIOD_MS,
  JOIN_HOLD_MS,
  MEMBERS_MAX,
  PHASE_TIMEOUT_MS,
  REPORT_GRACE_MS,
  SILENCE_MS_MAX,
} from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import type { RunEvent } from "./report.ts";
import { behaviour, type Role } from "./role.ts";

/** What a coordinator is made of. */
export interface CoordinatorOptions extends Omit<CoordinationConfig, "term"> {
  readonly onEvent: (event: RunEvent) => void;
}

const GATHERED = "gathered";
const GRACE = "grace";
const PHASE = "phase";
const SILENCE = "silence";

class Coordinator implements Role {
  readonly #context: Context<Message>;
  readonly #options: CoordinatorOptions;
  readonly #coordination: Coordination;
  readonly #heardAtMs = new Map<PeerId, number>();
  #gathering: Timer | undefined;
  #phaseTimer: Timer | undefined;
  #stepStartedMs: number;

  constructor(context: Context<Message>, options: CoordinatorOptions) {
    this.#context = context;
    this.#options = options;
    this.#coordination = new Coordination({ ...options, term: Math.floor(context.clock.epochMs()) });
    this.#stepStartedMs = context.clock.nowMs();
    context.tell({ actor: "scout" }, { kind: "announce", service: "coordinator", step: 0, stateHash: null });
    this.#watchSilence();
  }

  receive({ from, message }: Envelope<Message>): void {
    if (this.#heardAtMs.has(from)) this.#heardAtMs.set(from, this.#context.clock.nowMs());
    switch (message.kind) {
      case "hello": {
        if (!this.#heardAtMs.has(from)) {
          if (this.#heardAtMs.size >= MEMBERS_MAX) return;
          this.#heardAtMs.set(from, this.#context.clock.nowMs());
        }
        const { kind: _, ...hello } = message;
        return this.#advance({ kind: "hello", peer: from, hello });
      }
      case "accumulated":
      case "prepared":
      case "fenced":
      case "reduced":
      case "reduceFailed":
      case "applied":
        return this.#advance({ kind: message.kind, peer: from, report: message } as CoordinationEvent);
      case "walkOver":
        return this.#advance(message);
      case "proceed":
        return this.#advance(message);
      case "peerLost":
        return this.#lose(message.peer, message.reason);
      case "timer":
        return this.#onTimer(message);
    }
  }

  #advance(event: CoordinationEvent): void {
    for (const command of this.#coordination.advance(event)) this.#carryOut(command);
  }

  #carryOut(command: Command): void {
    const { onEvent } = this.#options;
    const step = this.#coordination.step;
    switch (command.kind) {
      case "send":
        if (!this.#context.tell({ peer: command.peer, actor: "host" }, command.message)) {
          // Not now: the commands of this event belong together.
          this.#context.tell({ actor: this.#context.actor }, {
            kind: "peerLost",
            peer: command.peer,
            reason: "it can't be reached",
          });
        }
        return;
      case "assign":
        this.#context.tell({ actor: "trainer" }, { kind: "assign", walk: command.walk, mask: command.mask });
        return;
      case "awaitQuiet":
        this.#gathering?.cancel();
        this.#gathering = this.#setTimer(GATHER_MS, GATHERED, "");
        return;
      case "awaitGrace":
        this.#setTimer(REPORT_GRACE_MS, GRACE, `${step} ${command.microBatch} ${command.attempt}`);
        return;
      case "awaitPhase":
        this.#phaseTimer?.cancel();
        this.#phaseTimer = this.#setTimer(
          command.phase === "holding" ? JOIN_HOLD_MS : PHASE_TIMEOUT_MS,
          PHASE,
          `${command.phase} ${command.step} ${command.round}`,
        );
        return;
      case "waiting":
        return onEvent({ kind: "waiting", step, stage: command.stage, reason: command.reason });
      case "joined":
        return onEvent({ kind: "joined", peer: command.peer, stage: command.stage, step });
      case "left":
        return onEvent({
          kind: "lost",
          peer: command.peer,
          stage: command.stage,
          step,
          reason: command.reason,
        });
      case "between":
        return this.#onBetween(command);
      case "done":
        return onEvent({ kind: "done", step: command.step });
      case "failed":
        return onEvent({ kind: "failed", step, reason: command.reason });
      default:
        command satisfies never;
    }
  }

  #onBetween({ step, applied }: Extract<Command, { kind: "between" }>): void {
    const nowMs = this.#context.clock.nowMs();
    if (applied !== null) {
      this.#options.onEvent({
        kind: "step",
        step,
        loss: applied.lossSum / applied.tokens,
        learningRate: applied.learningRate,
        gradientNorm: Math.sqrt(applied.squareSum) / applied.tokens,
        tokens: applied.tokens,
        seconds: (nowMs - this.#stepStartedMs) / 1000,
        replays: applied.replays,
        hosts: this.#coordination.hosts(),
        served: applied.served,
        stateHashes: applied.stateHashes,
      });
    }
    this.#stepStartedMs = nowMs;
    this.#context.tell({ actor: "trainer" }, { kind: "stepApplied", step });
  }

  #setTimer(delayMs: number, name: string, key: string): Timer {
    return this.#context.after(delayMs, { kind: "timer", name, key });
  }

  #onTimer({ name, key }: MessageOf<"timer">): void {
    const [first, second, third] = key.split(" ");
    switch (name) {
      case GATHERED:
        return this.#advance({ kind: "gathered" });
      case GRACE:
        if (Number(first) !== this.#coordination.step) return;
        return this.#advance({ kind: "graceOver", microBatch: Number(second), attempt: Number(third) });
      case PHASE:
        return this.#advance({
          kind: "phaseTimeout",
          phase: first as Coordination["phase"],
          step: Number(second),
          round: Number(third),
        });
      case SILENCE:
        return this.#watchSilence();
    }
  }

  #watchSilence(): void {
    const nowMs = this.#context.clock.nowMs();
    for (const [peer, heardAtMs] of [...this.#heardAtMs]) {
      if (nowMs - heardAtMs > SILENCE_MS_MAX) this.#lose(peer, `it was silent for ${SILENCE_MS_MAX} ms`);
    }
    this.#setTimer(HELLO_PERIOD_MS, SILENCE, "");
  }

  #lose(peer: PeerId, reason: string): void {
    if (this.#heardAtMs.delete(peer)) this.#advance({ kind: "lost", peer, reason });
  }
}

/** The role of a coordinator. */
export function coordinator(options: CoordinatorOptions) {
  return behaviour("coordinator", (context) => new Coordinator(context, options));
}
