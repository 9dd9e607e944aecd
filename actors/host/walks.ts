/**
 * The walks of micro-batches through a host: takes them in, has its stage compute them there and back,
 * passes activations on to a host of the next stage and gradients to where they came from. Each is held
 * until its gradient has gone back, or it breaks; then whoever waits for it is told. Which host is next is
 * for `dispatch.ts`, when something is computed for the queue, and whether it counts for the tally.
 */

import type { Context, PeerId } from "../core/actor.ts";
import { Dispatch } from "../dispatch.ts";
import {
  HELD_WALKS_MAX,
  HELLO_PERIOD_MS,
  OFFER_MS_MAX,
  REFUSED_RETRY_MS,
  SECONDS_PER_MICRO_BATCH_MAX,
} from "../limits.ts";
import { type Message, type MessageOf, type Tensor, type Walk, walkKey } from "../messages.ts";
import { reasonOf } from "../role.ts";
import { type Half, Workload } from "../workload.ts";
import type { Announcement } from "../../routing/mod.ts";
import type { ForwardResult } from "../../stages/mod.ts";
import type { Following } from "./following.ts";
import type { Holding } from "./holding.ts";
import type { Loss, Tally } from "./tally.ts";
import type { WorkQueue } from "./work_queue.ts";

/** What walks are made of. */
export interface WalksParts {
  readonly holding: Holding;
  readonly queue: WorkQueue;
  readonly tally: Tally;
  readonly following: Following;
  /** Tokens of one micro-batch, for the router's expectations. */
  readonly tokensPerMicroBatch: number;
  /** Digest of what passes, SHA-256 in hex, where account is kept of work; without it nobody is told of any. */
  readonly rootOf: ((tensor: Tensor) => string) | undefined;
}

/** What walks ask of their host. */
export interface WalksOwner {
  /** Whether walks are taken in at all. */
  readonly isServing: () => boolean;
  /** Whether others take the walks that are trained on: the host leaves. */
  readonly isReplaced: () => boolean;
  /** A micro-batch was counted. */
  readonly counted: () => void;
  /** The gradient sum may hold half of one, and is of no use. */
  readonly spoilt: () => void;
}

/** A walk that this host has taken in. */
interface Held {
  readonly key: string;
  readonly walk: Walk;
  readonly counts: boolean;
  readonly previous: PeerId;
  readonly forward: MessageOf<"forward">;
  /** The way back has begun: a second gradient is a duplicate. */
  returning: boolean;
  /** Who gave the gradient back. */
  next: PeerId | null;
  /** Digest of what went out, if account is kept. */
  outRoot: string | null;
  loss: Loss | undefined;
}

/** The walks that one host has taken in. */
export class Walks {
  readonly #context: Context<Message>;
  readonly #parts: WalksParts;
  readonly #owner: WalksOwner;
  readonly #held = new Map<string, Held>();
  #dispatch: Dispatch;
  #workload = new Workload();
  #computedMs = -Infinity;
  #countedTotal = 0;

  constructor(context: Context<Message>, parts: WalksParts, owner: WalksOwner) {
    this.#context = context;
    this.#parts = parts;
    this.#owner = owner;
    this.#dispatch = this.#newDispatch();
  }

  /** Micro-batches that were counted since the start. */
  get countedTotal(): number {
    return this.#countedTotal;
  }

  /** Seconds that the stage computes for a micro-batch; `undefined` until each half was done once. */
  get secondsPerMicroBatch(): number | undefined {
    const seconds = this.#workload.secondsPerMicroBatch;
    return seconds === undefined ? undefined : Math.min(seconds, SECONDS_PER_MICRO_BATCH_MAX);
  }

  /** Seconds of work that wait. */
  get waitingSeconds(): number {
    const { queue } = this.#parts;
    return this.#workload.secondsOf(queue.waiting("forward"), queue.waiting("backward"));
  }

  /** Hosts of the next stage were looked for. */
  foundNext(announcements: readonly Announcement[]): void {
    this.#dispatch.found(announcements);
  }

  /** Nothing that was seen at this stage holds for another. */
  leave(): void {
    this.#dispatch = this.#newDispatch();
    this.#workload = new Workload();
  }

  /** One of the timers of the dispatch. */
  onTimer(key: string): void {
    this.#dispatch.timer(key);
  }

  #newDispatch(): Dispatch {
    return new Dispatch(this.#context, {
      broken: (walk, reason) => {
        const held = this.#held.get(walkKey(walk));
        if (held !== undefined && !held.returning) this.#break(held, reason);
      },
      offerMsMax: OFFER_MS_MAX,
      ownSeconds: () => this.#workload.secondsOf(1, 0),
    });
  }

  // --- there --------------------------------------------------------------------------------------

  /** Takes a walk in, or says at once why not. */
  onForward(from: PeerId, message: MessageOf<"forward">): void {
    const { walk, stage: wanted } = message;
    const previous = { peer: from, actor: previousRole(wanted) };
    const refuse = (reason: string, retryAfterMs: number) => {
      this.#context.tell(previous, { kind: "refused", walk, stage: wanted, retryAfterMs, reason });
    };
    const { stage } = this.#parts.holding;
    if (stage === undefined || !this.#owner.isServing()) {
      return refuse("this host does not serve yet", HELLO_PERIOD_MS);
    }
    if (wanted !== stage.index) return refuse(`this host serves stage ${stage.index}`, 60_000);
    if (walk.step !== stage.step) {
      return refuse(`this host stands at step ${stage.step}`, REFUSED_RETRY_MS);
    }
    const { leader, term } = this.#parts.following.pledge;
    if (walk.purpose === "train" && (message.coordinator !== leader || walk.term !== term)) {
      return refuse("this host follows another coordinator", HELLO_PERIOD_MS);
    }
    if (walk.purpose === "train" && this.#owner.isReplaced()) return refuse("this host leaves", 60_000);
    const key = walkKey(walk);
    if (this.#held.has(key)) {
      this.#context.trace("duplicate walk", { from, walk: key });
      return;
    }
    if (this.#held.size >= HELD_WALKS_MAX) {
      return refuse(`it holds ${this.#held.size} of ${HELD_WALKS_MAX} micro-batches`, REFUSED_RETRY_MS);
    }
    this.#context.tell(previous, { kind: "admitted", walk, stage: stage.index });
    const held: Held = {
      key,
      walk,
      counts: walk.purpose === "train" && message.corpus !== null && message.mask.includes(stage.index),
      previous: from,
      forward: message,
      returning: false,
      next: null,
      outRoot: null,
      loss: undefined,
    };
    this.#held.set(key, held);
    this.#parts.queue.awaitTurn("forward", held, () => this.#computeForward(held));
  }

  #computeForward(held: Held): void {
    if (this.#held.get(held.key) !== held) return;
    const stage = this.#parts.holding.stage!;
    const { input, targets } = held.forward;
    const last = stage.index + 1 === stage.count;
    this.#compute(
      "forward",
      held,
      () =>
        stage.forward(held.key, input, last ? targets : undefined, { keep: held.walk.purpose === "train" }),
      (result) => {
        if (this.#held.get(held.key) !== held) return stage.release(held.key);
        this.#context.tell({ peer: held.previous, actor: previousRole(stage.index) }, {
          kind: "processed",
          walk: held.walk,
          stage: stage.index,
        });
        this.#afterForward(held, result);
      },
      (error) => this.#break(held, reasonOf(error)),
    );
  }

  #afterForward(held: Held, result: ForwardResult): void {
    const { walk, forward } = held;
    const { queue, rootOf, tokensPerMicroBatch } = this.#parts;
    switch (result.kind) {
      case "activation":
        held.outRoot = rootOf?.(result.activation) ?? null;
        return this.#dispatch.offer(
          { ...forward, stage: forward.stage + 1, input: result.activation },
          tokensPerMicroBatch,
        );
      case "logits":
        return this.#break(held, "the targets are missing");
      case "loss":
        if (walk.purpose !== "train") {
          const { lossSum, tokens } = result;
          this.#context.tell({ peer: forward.trainer, actor: "trainer" }, {
            kind: "evaluated",
            walk,
            lossSum,
            tokens,
          });
          return this.#letGo(held);
        }
        held.loss = { sum: result.lossSum, tokens: result.tokens };
        held.returning = true;
        return queue.awaitTurn("backward", held, () => this.#computeBackward(held, undefined));
    }
  }

  /** The next host has it in its queue. */
  onAdmitted(from: PeerId, message: MessageOf<"admitted">): void {
    this.#dispatch.admitted(from, message);
  }

  /** The next host has no room for it. */
  onRefused(from: PeerId, message: MessageOf<"refused">): void {
    this.#dispatch.refused(from, message);
  }

  /** The next host has computed it. */
  onProcessed(from: PeerId, message: MessageOf<"processed">): void {
    if (!this.#dispatch.processed(from, message)) return;
    const held = this.#held.get(walkKey(message.walk));
    // Nothing comes back of a walk that is not trained on.
    if (held !== undefined && held.walk.purpose !== "train") this.#letGo(held);
  }

  // --- and back -----------------------------------------------------------------------------------

  /** A gradient has come back. */
  onBackward(from: PeerId, { walk, gradient }: MessageOf<"backward">): void {
    const held = this.#held.get(walkKey(walk));
    if (held === undefined || held.returning || !this.#dispatch.returned(from, walk)) {
      this.#context.trace("gradient ignored", { from, walk: walkKey(walk) });
      return;
    }
    held.returning = true;
    held.next = from;
    this.#parts.queue.awaitTurn("backward", held, () => this.#computeBackward(held, gradient));
  }

  #computeBackward(held: Held, gradient: Tensor | undefined): void {
    if (this.#held.get(held.key) !== held) return;
    const { tally, following } = this.#parts;
    const stage = this.#parts.holding.stage!;
    const { walk } = held;
    const accumulate = held.counts && walk.term === following.pledge.term && walk.step === stage.step &&
      tally.isOpenFor(walk);
    this.#compute(
      "backward",
      held,
      () => stage.backward(held.key, gradient, { accumulate }),
      (back) => {
        if (accumulate) {
          tally.count(walk.microBatch, { corpus: held.forward.corpus!, loss: held.loss });
          this.#countedTotal++;
          this.#owner.counted();
        }
        this.#noteWork(held, accumulate);
        this.#reportAccumulated(held);
        this.#passBack(held, back);
        this.#letGo(held);
      },
      (error) => {
        // What is refused (`TypeError`) has changed nothing. Anything else may have left half of it in the sum.
        if (accumulate && !(error instanceof TypeError)) {
          tally.spoil();
          this.#owner.spoilt();
        }
        this.#break(held, reasonOf(error));
      },
    );
  }

  /** For whoever keeps account. */
  #noteWork({ walk, forward, previous, next, outRoot }: Held, counted: boolean): void {
    const { rootOf } = this.#parts;
    if (rootOf === undefined) return;
    const { stage, input } = forward;
    const roots = { inRoot: rootOf(input), outRoot };
    this.#context.tell({ actor: "settler" }, {
      kind: "worked",
      walk,
      stage,
      previous,
      next,
      ...roots,
      counted,
    });
  }

  #reportAccumulated({ walk, forward, counts, loss }: Held): void {
    const { tally, following } = this.#parts;
    const corpus = tally.corpusOf(walk.microBatch);
    // Of other data the same number is another micro-batch.
    if (!counts || corpus === undefined || corpus !== forward.corpus) return;
    // Whoever coordinates under another term has heard of it in a report, or will.
    if (walk.term !== following.pledge.term) return;
    following.tellLeader({
      kind: "accumulated",
      walk,
      stage: forward.stage,
      corpus,
      ...(loss === undefined ? {} : { lossSum: loss.sum, tokens: loss.tokens }),
    });
  }

  #passBack({ walk, forward, previous }: Held, gradient: Tensor | undefined): void {
    const trainer = { peer: forward.trainer, actor: "trainer" };
    if (gradient === undefined) {
      this.#context.tell(trainer, { kind: "finished", walk });
      return;
    }
    const sent = this.#context.tell({ peer: previous, actor: "host" }, {
      kind: "backward",
      walk,
      stage: forward.stage - 1,
      gradient,
    });
    if (!sent) {
      const reason = `the way back through ${previous} is broken`;
      this.#context.tell(trainer, { kind: "failed", walk, stage: forward.stage, reason });
    }
  }

  /** Has the stage compute one half of a walk's work. */
  #compute<Value>(
    half: Half,
    held: Held,
    run: () => Promise<Value>,
    done: (value: Value) => void,
    failed: (error: unknown) => void,
  ): void {
    const { queue, tokensPerMicroBatch } = this.#parts;
    const startedMs = this.#context.clock.nowMs();
    queue.startPass(held, { kind: half, amount: tokensPerMicroBatch }, run, (value) => {
      // Of what was computed side by side each has taken the time since the one before it was done.
      const nowMs = this.#context.clock.nowMs();
      this.#workload.took(half, (nowMs - Math.max(startedMs, this.#computedMs)) / 1000);
      this.#computedMs = nowMs;
      done(value);
    }, failed);
  }

  // --- what breaks --------------------------------------------------------------------------------

  /** None of the walks can go on here: their issuers and the hops before are told. */
  breakAll(reason: string): void {
    for (const held of [...this.#held.values()]) this.#break(held, reason);
  }

  /** Another coordinator leads: walks that are trained on mean nothing any more. */
  letGoOfTraining(): void {
    for (const held of [...this.#held.values()]) if (held.walk.purpose === "train") this.#letGo(held);
  }

  /** Walks of earlier steps mean nothing any more. */
  letGoBefore(step: number): void {
    for (const held of [...this.#held.values()]) if (held.walk.step < step) this.#letGo(held);
  }

  /** A peer is gone. */
  lost(peer: PeerId): void {
    this.#dispatch.lost(peer);
  }

  /** The next host has let go of it. */
  onAbandoned(from: PeerId, { walk, reason }: MessageOf<"abandoned">): void {
    const had = this.#dispatch.abandoned(from, walk);
    const held = this.#held.get(walkKey(walk));
    if (had && held !== undefined && !held.returning) this.#abandon(held, reason);
  }

  /**
   * Its issuer has given the walk up: what is held of it would wait for its gradient until the step ends.
   * Whoever waits for somebody itself says so, and is not to blame.
   */
  onGivenUp(from: PeerId, { walk }: MessageOf<"givenUp">): void {
    const held = this.#held.get(walkKey(walk));
    if (held === undefined || held.previous !== from || held.returning) return;
    this.#dispatch.giveUp(walk);
    this.#abandon(held, "its issuer has given it up");
  }

  /** The walk can't go on here: its issuer and the hop before are told. */
  #break(held: Held, reason: string): void {
    const { walk, forward } = held;
    const issuer = { peer: forward.trainer, actor: "trainer" };
    this.#context.trace("walk broken", { walk: held.key, reason });
    this.#context.tell(issuer, { kind: "failed", walk, stage: forward.stage, reason });
    this.#abandon(held, reason);
  }

  #abandon(held: Held, reason: string): void {
    const { walk, forward, previous } = held;
    this.#letGo(held);
    this.#context.tell({ peer: previous, actor: previousRole(forward.stage) }, {
      kind: "abandoned",
      walk,
      stage: forward.stage,
      reason,
    });
  }

  #letGo(held: Held): void {
    this.#held.delete(held.key);
    this.#dispatch.withdraw(held.walk);
    this.#parts.holding.stage?.release(held.key);
  }
}

/** Who sends walks to a stage. */
function previousRole(stage: number): string {
  return stage > 0 ? "host" : "trainer";
}
