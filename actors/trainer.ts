/**
 * Feeds the run: draws each micro-batch that the coordinator assigns, sends it to
 * a host of the first stage, and says how the walk ended. Between steps it
 * measures the validation loss. It holds no weights and sees no activation.
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { Dispatch, DISPATCH_TIMER } from "./dispatch.ts";
import {
  HELD_WALKS_MAX,
  REPORT_GRACE_MS,
  WALK_TIMEOUT_DOUBLINGS_MAX,
  WALK_TIMEOUT_FACTOR,
  WALK_TIMEOUT_MS_MIN,
} from "./limits.ts";
import { type Message, type MessageOf, type Tensor, type Walk, walkKey } from "./messages.ts";
import type { RunEvent } from "./report.ts";
import { behaviour, type Role } from "./role.ts";
import { stageService } from "../routing/mod.ts";

/** Token ids and what is to be predicted, `[B, T]` each. */
export interface Batch {
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
}

/** What a trainer is made of. */
export interface TrainerOptions {
  readonly microBatch: (step: number, index: number) => Batch;
  readonly validationBatch: (index: number) => Batch;
  /** Shape of a micro-batch, `[B, T]`. */
  readonly shape: readonly [number, number];
  readonly stages: number;
  readonly steps: number;
  readonly validation: { readonly everySteps: number; readonly microBatches: number };
  readonly onEvent: (event: RunEvent) => void;
}

/** A walk that was sent, or waits for its turn. */
interface Underway {
  readonly walk: Walk;
  readonly mask: readonly number[];
  /** The host of the first stage that has computed it, and through which it comes back. */
  through: PeerId | undefined;
  sentAtMs: number;
  timer: Timer | undefined;
}

interface Validation {
  readonly step: number;
  readonly losses: Map<number, { readonly sum: number; readonly tokens: number }>;
}

const WALK_TIMER = "walk";
const RETRY_TIMER = "retry";

class Trainer implements Role {
  readonly #context: Context<Message>;
  readonly #options: TrainerOptions;
  readonly #dispatch: Dispatch;
  readonly #underway = new Map<string, Underway>();
  readonly #backlog: Underway[] = [];
  #validation: Validation | undefined;
  /** Moving average of a whole walk; sets how long a silent one is waited for. */
  #walkSeconds: number | undefined;

  constructor(context: Context<Message>, options: TrainerOptions) {
    this.#context = context;
    this.#options = options;
    this.#dispatch = new Dispatch(context);
    context.tell({ actor: "scout" }, { kind: "watch", service: stageService(0), subscriber: context.actor });
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "assign":
        this.#supersede(message.walk);
        return this.#send(message.walk, message.mask);
      case "admitted":
        return this.#dispatch.admitted(from, message);
      case "refused":
        return this.#dispatch.refused(from, message);
      case "processed":
        return this.#onProcessed(from, message);
      case "found":
        this.#dispatch.found(message.announcements);
        return this.#sendBacklog();
      case "finished":
        return this.#onFinished(message.walk);
      case "failed":
        return this.#over(message.walk, `stage ${message.stage}: ${message.reason}`);
      case "evaluated":
        return this.#onEvaluated(message);
      case "stepApplied":
        return this.#onStepApplied(message.step);
      case "peerLost":
        return this.#onPeerLost(message.peer);
      case "timer":
        return this.#onTimer(message);
    }
  }

  // --- sending ------------------------------------------------------------------------------------

  #send(walk: Walk, mask: readonly number[]): void {
    this.#backlog.push({ walk, mask, through: undefined, sentAtMs: 0, timer: undefined });
    this.#sendBacklog();
  }

  #sendBacklog(): void {
    const perHost = Math.min(2 * this.#options.stages, HELD_WALKS_MAX);
    const most = Math.max(1, this.#dispatch.hosts) * perHost;
    while (this.#underway.size < most) {
      const next = this.#backlog.shift();
      if (next === undefined) return;
      this.#start(next);
    }
  }

  #start(underway: Underway): void {
    const { walk, mask } = underway;
    const key = walkKey(walk);
    const { shape, microBatch, validationBatch } = this.#options;
    const batch = walk.purpose === "train"
      ? microBatch(walk.step, walk.microBatch)
      : validationBatch(walk.microBatch);
    const tensor = (data: Int32Array): Tensor => ({ dataType: "i32", shape, data });
    underway.sentAtMs = this.#context.clock.nowMs();
    underway.timer = this.#context.after(this.#walkTimeoutMs(walk.attempt), {
      kind: "timer",
      name: WALK_TIMER,
      key,
    });
    this.#underway.set(key, underway);
    this.#dispatch.offer({
      kind: "forward",
      walk,
      stage: 0,
      mask: [...mask],
      trainer: this.#context.peer,
      coordinator: this.#context.peer,
      input: tensor(batch.tokens),
      targets: tensor(batch.targets),
    }, shape[0] * shape[1]);
  }

  /** Twice as long for each attempt: a model whose walks take longer than anybody thought gets there in the end. */
  #walkTimeoutMs(attempt: number): number {
    const usualMs = WALK_TIMEOUT_FACTOR * 1000 * (this.#walkSeconds ?? 0);
    return Math.max(WALK_TIMEOUT_MS_MIN, usualMs) * 2 ** Math.min(attempt - 1, WALK_TIMEOUT_DOUBLINGS_MAX);
  }

  /** A replay takes the place of earlier walks of the same micro-batch. */
  #supersede({ step, microBatch }: Walk): void {
    for (const { walk } of [...this.#underway.values()]) {
      if (walk.purpose === "train" && (walk.step !== step || walk.microBatch === microBatch)) {
        this.#forget(walk);
      }
    }
  }

  #onProcessed(from: PeerId, message: MessageOf<"processed">): void {
    if (!this.#dispatch.processed(from, message)) return;
    const underway = this.#underway.get(walkKey(message.walk));
    if (underway !== undefined) underway.through = from;
  }

  // --- ends ---------------------------------------------------------------------------------------

  #forget(walk: Walk): Underway | undefined {
    const key = walkKey(walk);
    const underway = this.#underway.get(key);
    underway?.timer?.cancel();
    this.#underway.delete(key);
    this.#dispatch.withdraw(walk);
    return underway;
  }

  #onFinished(walk: Walk): void {
    const underway = this.#underway.get(walkKey(walk));
    if (underway === undefined) return;
    const seconds = (this.#context.clock.nowMs() - underway.sentAtMs) / 1000;
    this.#context.trace("walk finished", { walk: walkKey(walk), seconds });
    this.#walkSeconds = this.#walkSeconds === undefined ? seconds : 0.9 * this.#walkSeconds + 0.1 * seconds;
    this.#over(walk, null);
  }

  #over(walk: Walk, reason: string | null): void {
    const underway = this.#forget(walk);
    if (underway === undefined) return;
    if (reason !== null) this.#context.trace("walk failed", { walk: walkKey(walk), reason });
    if (walk.purpose === "train") {
      this.#context.tell({ actor: "coordinator" }, { kind: "walkOver", walk, reason });
    } else {
      const again = { ...walk, attempt: walk.attempt + 1 };
      if (again.attempt <= 3) this.#send(again, []);
      else {
        this.#context.after(REPORT_GRACE_MS, {
          kind: "timer",
          name: RETRY_TIMER,
          key: `${again.microBatch} ${again.attempt} ${again.step}`,
        });
      }
    }
    this.#sendBacklog();
  }

  #onPeerLost(peer: PeerId): void {
    this.#dispatch.lost(peer);
    for (const { walk, through } of [...this.#underway.values()]) {
      // No other host can tell: the next stage only finds that its gradient can't be delivered, if that.
      if (through === peer) this.#over(walk, `host ${peer} of the first stage was lost`);
    }
  }

  #onTimer({ name, key }: MessageOf<"timer">): void {
    if (name === DISPATCH_TIMER) return this.#dispatch.timer(key);
    if (name === WALK_TIMER) {
      const underway = this.#underway.get(key);
      if (underway === undefined) return;
      const { walk, through } = underway;
      if (through !== undefined) {
        this.#context.tell({ peer: through, actor: "host" }, { kind: "givenUp", walk, stage: 0 });
      }
      return this.#over(walk, "nothing was heard of it");
    }
    const [microBatch, attempt, step] = key.split(" ").map(Number);
    if (this.#validation?.step === step) {
      this.#send({ purpose: "evaluate", step, round: 0, microBatch, attempt }, []);
    }
  }

  // --- validation ---------------------------------------------------------------------------------

  #onStepApplied(step: number): void {
    for (const { walk } of [...this.#underway.values()]) if (walk.purpose === "train") this.#forget(walk);
    const { everySteps, microBatches } = this.#options.validation;
    const due = microBatches > 0 && (step % everySteps === 0 || step >= this.#options.steps);
    if (!due) {
      this.#context.tell({ actor: "coordinator" }, { kind: "proceed", step });
      return;
    }
    this.#validation = { step, losses: new Map() };
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      this.#send({ purpose: "evaluate", step, round: 0, microBatch, attempt: 1 }, []);
    }
  }

  #onEvaluated({ walk, lossSum, tokens }: MessageOf<"evaluated">): void {
    const validation = this.#validation;
    if (this.#forget(walk) === undefined) return;
    this.#sendBacklog();
    if (validation?.step !== walk.step) return;
    validation.losses.set(walk.microBatch, { sum: lossSum, tokens });
    if (validation.losses.size < this.#options.validation.microBatches) return;
    this.#validation = undefined;
    // In the order of the micro-batches, so that the sum doesn't depend on who was faster.
    const losses = [...validation.losses].sort(([a], [b]) => a - b).map(([, loss]) => loss);
    const total = losses.reduce((sum, loss) => sum + loss.tokens, 0);
    this.#options.onEvent({
      kind: "validation",
      step: walk.step,
      loss: losses.reduce((sum, loss) => sum + loss.sum, 0) / total,
      tokens: total,
    });
    this.#context.tell({ actor: "coordinator" }, { kind: "proceed", step: walk.step });
  }
}

/** The role of a trainer. */
export function trainer(options: TrainerOptions) {
  return behaviour("trainer", (context) => new Trainer(context, options));
}
