/**
 * Feeds the run: draws each micro-batch that the coordinator assigns, sends it to
 * a host of the first stage, and says how the walk ended. Between steps it
 * measures the validation loss. It holds no weights and sees no activation.
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { Dispatch, DISPATCH_TIMER } from "./dispatch.ts";
import { REPORT_GRACE_MS, WALKS_PER_HOST_MAX, WALKS_PER_STAGE } from "./limits.ts";
import { type Message, type MessageOf, type Tensor, type Walk, walkKey } from "./messages.ts";
import { Patience } from "./patience.ts";
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
  /** Names the data that micro-batches are drawn from: whoever has the same can draw the same. */
  readonly corpus: string;
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
  sentAtMs: number;
  /** When the first stage had computed it: from then on the trainer keeps the time. */
  computedAtMs: number;
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
  /** Whose walks are fed, and under which term. */
  #leader: PeerId;
  #term = 0;
  readonly #patience: Patience;

  constructor(context: Context<Message>, options: TrainerOptions) {
    this.#context = context;
    this.#options = options;
    this.#leader = context.peer;
    this.#patience = new Patience(options.stages);
    this.#dispatch = new Dispatch(context, { broken: (walk, reason) => this.#over(walk, reason) });
    context.tell({ actor: "scout" }, { kind: "watch", service: stageService(0), subscriber: context.actor });
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "led":
        return this.#onLed(message);
      case "assign":
        if (from !== this.#leader || message.walk.term !== this.#term) {
          const reason = `this trainer follows ${this.#leader} under term ${this.#term}`;
          return this.#refuseAssignment(from, message.walk, reason);
        }
        if (message.corpus !== this.#options.corpus) {
          return this.#refuseAssignment(from, message.walk, "this trainer has other data");
        }
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
      case "abandoned":
        return void this.#dispatch.abandoned(from, message.walk);
      case "finished":
        return this.#onFinished(from, message.walk);
      case "failed":
        return this.#over(message.walk, `stage ${message.stage}: ${message.reason}`);
      case "evaluated":
        return this.#onEvaluated(message);
      case "stepApplied":
        return this.#onStepApplied(message);
      case "peerLost":
        return this.#dispatch.lost(message.peer);
      case "timer":
        return this.#onTimer(message);
    }
  }

  /** A coordinator may lead under a new term before its followers have heard of it: it has to assign again. */
  #refuseAssignment(from: PeerId, walk: Walk, reason: string): void {
    this.#context.trace("assignment refused", { from, walk: walkKey(walk), reason });
    this.#context.tell({ peer: from, actor: "coordinator" }, { kind: "walkOver", walk, reason });
  }

  /** What was under way was another coordinator's: it assigns anew what is missing. */
  #onLed({ leader, term }: MessageOf<"led">): void {
    // Whoever was only not heard of for a while waits for what it has assigned.
    if (leader === this.#leader && term === this.#term) return;
    this.#leader = leader;
    this.#term = term;
    this.#validation = undefined;
    this.#backlog.length = 0;
    for (const { walk } of [...this.#underway.values()]) this.#forget(walk);
  }

  // --- sending ------------------------------------------------------------------------------------

  #send(walk: Walk, mask: readonly number[]): void {
    this.#backlog.push({ walk, mask, sentAtMs: 0, computedAtMs: 0, timer: undefined });
    this.#sendBacklog();
  }

  #sendBacklog(): void {
    const perHost = Math.min(WALKS_PER_STAGE * this.#options.stages, WALKS_PER_HOST_MAX);
    const most = Math.max(1, this.#dispatch.hosts) * perHost;
    while (this.#underway.size < most) {
      const next = this.#backlog.shift();
      if (next === undefined) return;
      this.#start(next);
    }
  }

  #start(underway: Underway): void {
    const { walk, mask } = underway;
    const { corpus, shape, microBatch, validationBatch } = this.#options;
    const batch = walk.purpose === "train"
      ? microBatch(walk.step, walk.microBatch)
      : validationBatch(walk.microBatch);
    const tensor = (data: Int32Array): Tensor => ({ dataType: "i32", shape, data });
    underway.sentAtMs = this.#context.clock.nowMs();
    this.#underway.set(walkKey(walk), underway);
    this.#dispatch.offer({
      kind: "forward",
      walk,
      stage: 0,
      mask: [...mask],
      corpus,
      trainer: this.#context.peer,
      coordinator: this.#leader,
      input: tensor(batch.tokens),
      targets: tensor(batch.targets),
    }, shape[0] * shape[1]);
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
    const key = walkKey(message.walk);
    const underway = this.#underway.get(key);
    if (underway === undefined) return;
    underway.computedAtMs = this.#context.clock.nowMs();
    this.#patience.hopped(underway.computedAtMs - underway.sentAtMs);
    this.#awaitEnd(underway, this.#patience.ms);
  }

  #awaitEnd(underway: Underway, delayMs: number): void {
    const key = walkKey(underway.walk);
    underway.timer = this.#context.after(delayMs, { kind: "timer", name: WALK_TIMER, key });
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

  #onFinished(from: PeerId, walk: Walk): void {
    const underway = this.#underway.get(walkKey(walk));
    if (underway === undefined || !this.#dispatch.returned(from, walk)) return;
    const nowMs = this.#context.clock.nowMs();
    if (underway.timer !== undefined) this.#patience.rewarded(nowMs - underway.computedAtMs, nowMs);
    this.#context.trace("walk finished", { walk: walkKey(walk) });
    this.#noteWork(from, walk);
    this.#over(walk, null);
  }

  /** For whoever keeps account; where nobody does it goes nowhere. */
  #noteWork(next: PeerId, walk: Walk): void {
    if (walk.purpose !== "train") return;
    const previous = this.#context.peer;
    const roots = { inRoot: null, outRoot: null };
    this.#context.tell({ actor: "settler" }, {
      kind: "worked",
      walk,
      stage: -1,
      previous,
      next,
      ...roots,
      counted: false,
    });
  }

  #over(walk: Walk, reason: string | null): void {
    const underway = this.#forget(walk);
    if (underway === undefined) return;
    if (reason !== null) this.#context.trace("walk failed", { walk: walkKey(walk), reason });
    if (walk.purpose === "train") {
      const peer = this.#leader === this.#context.peer ? undefined : this.#leader;
      this.#context.tell({ peer, actor: "coordinator" }, { kind: "walkOver", walk, reason });
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

  #onTimer({ name, key }: MessageOf<"timer">): void {
    if (name === DISPATCH_TIMER) return this.#dispatch.timer(key);
    if (name === WALK_TIMER) {
      const underway = this.#underway.get(key);
      if (underway === undefined) return;
      return this.#onWalkTimer(underway);
    }
    const [microBatch, attempt, step] = key.split(" ").map(Number);
    if (this.#validation?.step === step) {
      this.#send({ purpose: "evaluate", term: this.#term, step, round: 0, microBatch, attempt }, []);
    }
  }

  #onWalkTimer(underway: Underway): void {
    const { walk, computedAtMs } = underway;
    const nowMs = this.#context.clock.nowMs();
    // Others that have come back since may have taught more patience.
    const leftMs = computedAtMs + this.#patience.ms - nowMs;
    if (leftMs > 0) return this.#awaitEnd(underway, leftMs);
    this.#patience.disappointed(computedAtMs, nowMs);
    this.#dispatch.giveUp(walk);
    this.#over(walk, "nothing was heard of it");
  }

  // --- validation ---------------------------------------------------------------------------------

  #onStepApplied({ term, step }: MessageOf<"stepApplied">): void {
    if (term !== this.#term) return;
    for (const { walk } of [...this.#underway.values()]) if (walk.purpose === "train") this.#forget(walk);
    const { everySteps, microBatches } = this.#options.validation;
    const due = microBatches > 0 && (step % everySteps === 0 || step >= this.#options.steps);
    if (!due) {
      this.#context.tell({ actor: "coordinator" }, { kind: "proceed", step });
      return;
    }
    this.#validation = { step, losses: new Map() };
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      this.#send({ purpose: "evaluate", term, step, round: 0, microBatch, attempt: 1 }, []);
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
