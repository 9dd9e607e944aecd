/**
 * What a host does for the optimizer step under way, as its coordinator orders it: says what it has
 * counted, has its sum added up with those of other replicas, applies the total, and signs the state that
 * follows. A round that is sealed counts no more, and what is ordered twice is done once. Whether an order
 * may be obeyed at all, and who takes part in a step, is decided elsewhere.
 */

import type { Context, PeerId } from "../core/actor.ts";
import type { Message, MessageOf, Update } from "../messages.ts";
import { reasonOf } from "../role.ts";
import { isQuorate, type Signer, signState } from "../../routing/mod.ts";
import type { Following } from "./following.ts";
import type { Holding, Prove } from "./holding.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Tally } from "./tally.ts";
import type { WorkQueue } from "./work_queue.ts";

/** What the duty is made of. */
export interface StepDutyParts {
  readonly holding: Holding;
  readonly queue: WorkQueue;
  readonly tally: Tally;
  readonly snapshots: Snapshots;
  readonly following: Following;
  readonly prove: Prove;
  /** Hash of the run's manifest, hex. */
  readonly run: string;
  /** Signs the states that this host computes. */
  readonly signer: Signer;
  /** Whether account is kept of what a step was taken with. */
  readonly accounts: boolean;
}

/** What the duty asks of its host. */
export interface StepDutyOwner {
  /** This host can't take the step: it serves no more until it has the state of those that did. */
  readonly pause: (reason: string) => void;
  /** What a person wants to know. */
  readonly trouble: (reason: string) => void;
  /** The stage has taken a step, and the coordinator was told. */
  readonly applied: () => void;
  /** Whether the host is about to leave: its state is to be on the disk then. */
  readonly isLeaving: () => boolean;
}

/** Orders that are about a step under way. */
export type StepOrder = MessageOf<"prepare" | "fence" | "reduce" | "apply" | "certified">;

/** One host's part in one step after the other. */
export class StepDuty {
  readonly #context: Context<Message>;
  readonly #parts: StepDutyParts;
  readonly #owner: StepDutyOwner;
  /** The last round of this step that was summed up. */
  #reducedRound = -1;
  /** Who takes part in the latest all-reduce. */
  #replicas: readonly PeerId[] | undefined;
  /** What came of it. */
  #averaged: MessageOf<"averaged"> | undefined;
  /** What led to the present state. */
  #applied: Update | undefined;
  #isApplying = false;

  constructor(context: Context<Message>, parts: StepDutyParts, owner: StepDutyOwner) {
    this.#context = context;
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Whether the stage is taking a step, and will stand at another state. */
  get isApplying(): boolean {
    return this.#isApplying;
  }

  /** What a coordinator has to know that takes over in the middle of a step. */
  get report(): NonNullable<MessageOf<"hello">["report"]> {
    const { tally, holding } = this.#parts;
    const averaged = this.#averaged;
    return {
      held: tally.held,
      losses: tally.losses,
      total: averaged === undefined ? null : { term: averaged.term, round: averaged.round },
      applied: this.#applied ?? null,
      proof: holding.proof ?? null,
    };
  }

  /** Another state is held, or none, that no update of this host has led to. */
  reset(): void {
    this.#applied = undefined;
    this.#begin();
  }

  /** Somebody else leads, and counts rounds anew; what has been counted stays. */
  unseal(): void {
    this.#parts.tally.unseal();
    this.#reducedRound = -1;
  }

  /** Carries out an order that is about the step at which the host stands. */
  onOrder(message: StepOrder): void {
    switch (message.kind) {
      case "prepare":
        return this.#prepare(message);
      case "fence":
        return this.#fence(message);
      case "reduce":
        return this.#reduce(message);
      case "apply":
        return this.#apply(message);
      case "certified":
        return this.#certify(message);
    }
  }

  /** Empties the stage's sum, and calls `then`. */
  forget(then = () => {}): void {
    const { holding, queue, tally } = this.#parts;
    const stage = holding.stage!;
    queue.alone(() => {
      this.#averaged = undefined;
      if (tally.isBlank) return then();
      tally.clear();
      queue.start(
        { kind: "clear", amount: stage.parameters },
        () => stage.clearGradients(),
        then,
        (error) => {
          throw error;
        },
      );
    });
  }

  /** Nothing has been accumulated, sealed or reduced of the step that begins. */
  #begin(): void {
    this.#parts.tally.begin();
    this.#reducedRound = -1;
    this.#averaged = undefined;
  }

  // --- what was counted ---------------------------------------------------------------------------

  #prepare({ term, step, round }: MessageOf<"prepare">): void {
    const { holding, queue, tally, following } = this.#parts;
    tally.seal(round);
    // A backward pass that is under way has been promised to count: wait for it.
    queue.alone(() => {
      const stateHash = holding.stateHash!;
      following.tellLeader({ kind: "prepared", term, step, round, stateHash, held: tally.held });
    });
  }

  #fence({ term, step, round }: MessageOf<"fence">): void {
    this.#parts.tally.seal(round);
    this.forget(() => this.#parts.following.tellLeader({ kind: "fenced", term, step, round }));
  }

  // --- the sum over all replicas ------------------------------------------------------------------

  #reduce({ term, step, round, replicas }: MessageOf<"reduce">): void {
    const { holding, queue, tally: { sealedRound }, following } = this.#parts;
    const stage = holding.stage!;
    const refuse = (reason: string) => {
      following.tellLeader({ kind: "reduceFailed", term, step, round, reason, culprit: null });
    };
    if (!replicas.includes(this.#context.peer)) return refuse("this host is not among the replicas");
    if (sealedRound !== round) return refuse(`this host has sealed round ${sealedRound}`);
    if (round <= this.#reducedRound) return;
    this.#reducedRound = round;
    this.#replicas = replicas;
    queue.perform(
      { kind: "gradient", amount: stage.parameters },
      () => stage.gradientSum(),
      (vector) => {
        this.#context.tell({ actor: "averager" }, { kind: "average", term, step, round, replicas, vector });
      },
      // A sum that can't be had is of no use: what it held is replayed.
      (error) => this.forget(() => refuse(reasonOf(error))),
    );
  }

  /** The sum is there. */
  onAveraged(message: MessageOf<"averaged">): void {
    this.#averaged = message;
    const { term, step, round, hash, squareSum } = message;
    this.#parts.following.tellLeader({ kind: "reduced", term, step, round, hash, squareSum });
  }

  /** There will be none. */
  onAverageFailed(message: MessageOf<"averageFailed">): void {
    this.#parts.following.tellLeader({ ...message, kind: "reduceFailed" });
  }

  // --- the next state -----------------------------------------------------------------------------

  #apply({ term, step, update }: MessageOf<"apply">): void {
    const { holding, queue, run, signer, following, snapshots } = this.#parts;
    const { total, scale, learningRate } = update;
    const stage = holding.stage!;
    if (this.#isApplying) return;
    const averaged = this.#averaged;
    const replicas = this.#replicas;
    const isTheTotal = averaged?.step === step && averaged.term === total.term &&
      averaged.round === total.round;
    // A total that comes after this host has started again is of an order that it does not know.
    if (!isTheTotal || replicas === undefined) {
      // Without the total this host can't follow: it will be told where to get the state.
      return this.#owner.pause(`the total of step ${step} is missing`);
    }
    this.#averaged = undefined;
    this.#isApplying = true;
    queue.perform(
      { kind: "apply", amount: stage.parameters },
      async () => {
        await stage.apply({ gradientSum: averaged.vector, scale, learningRate });
        const manifest = await stage.describeState();
        const claim = { run, stage: stage.index, step: manifest.step, stateHash: manifest.stateHash };
        return { manifest, proof: await signState(claim, replicas, signer) };
      },
      ({ manifest, proof }) => {
        holding.stand(manifest, proof);
        this.#applied = update;
        this.#isApplying = false;
        this.#noteStep(step);
        this.#begin();
        const isDue = snapshots.isDue({ atOnce: this.#owner.isLeaving() });
        following.tellLeader({
          kind: "applied",
          term,
          step: stage.step,
          stateHash: manifest.stateHash,
          signature: proof.votes[0].signature,
          certify: isDue && !isQuorate(proof),
        });
        this.#owner.applied();
        if (isDue) snapshots.copy();
      },
      (error) => {
        this.#isApplying = false;
        this.#owner.pause(reasonOf(error));
      },
    );
  }

  /** For whoever keeps account. */
  #noteStep(step: number): void {
    const { accounts, tally: { microBatches }, following: { pledge: { leader } } } = this.#parts;
    if (!accounts) return;
    this.#context.tell({ actor: "settler" }, { kind: "stepTaken", step, microBatches, leader });
  }

  /** Others have signed the same state. */
  #certify({ step, stateHash, proof }: MessageOf<"certified">): void {
    const { holding, queue, prove, snapshots } = this.#parts;
    const stage = holding.stage!;
    const own = holding.proof;
    if (own === undefined || isQuorate(own) || holding.stateHash !== stateHash) return;
    queue.perform(
      { kind: "prove", amount: 1 },
      () => prove({ stage: stage.index, step, stateHash }, [own, proof]),
      (proof) => {
        if (holding.stateHash !== stateHash) return;
        holding.prove(proof);
        snapshots.saveProved();
      },
      (error) => this.#owner.trouble(reasonOf(error)),
    );
  }
}
