/**
 * Takes weights out of a run: finds the newest step at which every wanted stage
 * has hosts that give its state away, and fetches the pieces that hold weights,
 * one by one, to wherever its owner puts them. It believes a state as a host that
 * joins does: if a quorum of its replicas has signed it, or the run's manifest
 * names it. It holds no state, and asks no host again that refuses.
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { EXPORT_ASK_MS, EXPORT_REFUSED_MS, EXPORT_SEARCH_MS_MAX, REPLICAS_MAX } from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { behaviour, Jobs, reasonOf, type Role } from "./role.ts";
import { Transfer, TRANSFER_TIMER } from "./state_transfer.ts";
import { proveState, stageService, type StateProof, UnprovedState, type Verify } from "../routing/mod.ts";

/** Where the weights of one stage go. */
export interface WeightSink {
  /** Pieces of its state that are wanted: those from 0 up to, but not with, this. */
  readonly pieces: number;
  /** Takes one; one at a time of each stage. */
  write(piece: number, bytes: Uint8Array): Promise<void>;
}

/** What an exporter is made of. */
export interface ExporterOptions {
  /** Hash of the run's manifest, hex. */
  readonly run: string;
  /** Stages that are wanted. */
  readonly stages: readonly number[];
  readonly verify: Verify;
  /** Hashes that the manifest gives for the states before the first step; without it nobody can vouch for those. */
  readonly firstStates?: readonly string[];
  /** Throws unless the manifest is sound in itself and of this stage. */
  readonly check: (stage: number, manifest: Omit<MessageOf<"stateOffer">, "kind" | "purpose">) => void;
  /** States of one step were found; says where their pieces go. */
  readonly open: (
    step: number,
    states: ReadonlyMap<number, string>,
  ) => Promise<ReadonlyMap<number, WeightSink>>;
  /** All pieces are where they belong, or why not. */
  readonly onEnd: (error?: Error) => void;
}

/** The run does not give what is wanted; the message says why. */
export class ExportFailed extends Error {
  /** Tells it from a bug. */
  override name = "ExportFailed";
}

/** What a host has said. */
type Answer =
  | { readonly kind: "silent" }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "offers"; readonly states: MessageOf<"exportable">["states"] };

/** A state that some hosts offer. */
interface Offered {
  readonly stage: number;
  readonly step: number;
  readonly stateHash: string;
  readonly proofs: StateProof[];
}

const ASK_TIMER = "ask";

class Exporter implements Role {
  readonly #context: Context<Message>;
  readonly #options: ExporterOptions;
  readonly #jobs: Jobs;
  readonly #startedMs: number;
  /** Stage → host → what it has said. */
  readonly #answers: ReadonlyMap<number, Map<PeerId, Answer>>;
  /** By state hash. */
  readonly #transfers = new Map<string, Transfer>();
  /** Ends of writes that go on, by stage: one at a time. */
  readonly #writing = new Map<number, Promise<void>>();
  #phase: "searching" | "choosing" | "fetching" | "over" = "searching";
  /** Something was said since the last choice. */
  #isNews = false;
  /** Why what is offered can't be taken. */
  #trouble: string | undefined;
  #timer: Timer | undefined;

  constructor(context: Context<Message>, options: ExporterOptions) {
    this.#context = context;
    this.#options = options;
    this.#jobs = new Jobs(context);
    this.#startedMs = context.clock.nowMs();
    this.#answers = new Map(options.stages.map((stage) => [stage, new Map()]));
    for (const stage of options.stages) {
      context.tell({ actor: "scout" }, {
        kind: "watch",
        service: stageService(stage),
        subscriber: context.actor,
      });
    }
    this.#setTimer();
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "performed":
        return this.#jobs.end(message.job, message.outcome);
      case "found":
        return this.#onFound(message);
      case "exportable":
        return this.#onAnswer(from, message.stage, { kind: "offers", states: message.states });
      case "exportRefused":
        for (const stage of this.#options.stages) {
          this.#onAnswer(from, stage, { kind: "refused", reason: message.reason });
        }
        return;
      case "stateOffer":
        return this.#transfers.get(message.stateHash)?.onOffer(from, message);
      case "stateGone":
        return this.#transfers.get(message.stateHash)?.onGone(from, message);
      case "piece":
        return this.#transfers.get(message.stateHash)?.onPiece(from, message);
      case "peerLost":
        for (const hosts of this.#answers.values()) hosts.delete(message.peer);
        for (const transfer of this.#transfers.values()) transfer.drop(message.peer, message.reason);
        return;
      case "timer":
        if (message.name === TRANSFER_TIMER) return this.#transfers.get(message.key)?.onTimer();
        return this.#onAskTimer();
    }
  }

  stop(): void {
    this.#phase = "over";
    this.#timer?.cancel();
    for (const transfer of this.#transfers.values()) transfer.cancel();
  }

  // --- the search ---------------------------------------------------------------------------------

  #onFound({ service, announcements }: MessageOf<"found">): void {
    const stage = this.#options.stages.find((stage) => stageService(stage) === service);
    const hosts = stage === undefined ? undefined : this.#answers.get(stage);
    for (const { peer } of announcements) {
      if (hosts === undefined || hosts.has(peer) || hosts.size >= REPLICAS_MAX) continue;
      hosts.set(peer, { kind: "silent" });
      this.#ask(peer);
    }
  }

  #ask(peer: PeerId): void {
    if (this.#phase !== "searching" && this.#phase !== "choosing") return;
    this.#context.tell({ peer, actor: "host" }, { kind: "exportRequest" });
  }

  #onAnswer(from: PeerId, stage: number, answer: Answer): void {
    const hosts = this.#answers.get(stage);
    if (hosts === undefined || !hosts.has(from)) return;
    hosts.set(from, answer);
    this.#isNews = true;
    this.#choose();
  }

  #setTimer(): void {
    this.#timer?.cancel();
    this.#timer = this.#context.after(EXPORT_ASK_MS, { kind: "timer", name: ASK_TIMER, key: "" });
  }

  /** The run goes on meanwhile: hosts are asked anew what they have. */
  #onAskTimer(): void {
    if (this.#phase !== "searching" && this.#phase !== "choosing") return;
    const reason = this.#hopeless();
    if (reason !== undefined) return this.#end(new ExportFailed(reason));
    for (const hosts of this.#answers.values()) {
      for (const [peer, { kind }] of hosts) if (kind !== "refused") this.#ask(peer);
    }
    this.#setTimer();
  }

  /** Why to look no longer. */
  #hopeless(): string | undefined {
    const waitedMs = this.#context.clock.nowMs() - this.#startedMs;
    for (const [stage, hosts] of this.#answers) {
      const answers = [...hosts.values()];
      const refusal = answers.find((answer) => answer.kind === "refused");
      const isRefused = refusal !== undefined && answers.every(({ kind }) => kind === "refused");
      if (isRefused && waitedMs >= EXPORT_REFUSED_MS) {
        return `Cannot export stage ${stage}: ${answers.length === 1 ? "its host" : "each of its hosts"} ` +
          `refuses (${refusal.reason})`;
      }
      if (waitedMs < EXPORT_SEARCH_MS_MAX) continue;
      if (answers.length === 0) return `Cannot export stage ${stage}: no host of it was found`;
      if (answers.every(({ kind }) => kind === "silent")) {
        return `Cannot export stage ${stage}: its hosts are silent`;
      }
    }
    if (waitedMs < EXPORT_SEARCH_MS_MAX) return undefined;
    return this.#trouble ?? "Cannot export: hosts of all stages offer no state of one step";
  }

  // --- the choice ---------------------------------------------------------------------------------

  #choose(): void {
    if (this.#phase !== "searching" || !this.#isNews) return;
    const steps = this.#commonSteps();
    if (steps.length === 0) return;
    this.#isNews = false;
    this.#phase = "choosing";
    this.#jobs.start(
      { kind: "prove", amount: 1 },
      () => this.#newestProved(steps),
      (chosen) => {
        if (this.#phase !== "choosing") return;
        this.#phase = "searching";
        if (chosen !== undefined) return this.#open(chosen);
        this.#choose();
      },
      (error) => this.#end(error),
    );
  }

  /** What is offered at each step at which every stage is, the newest first. */
  #commonSteps(): readonly (readonly Offered[])[] {
    const byStep = new Map<number, Map<string, Offered>>();
    for (const [stage, hosts] of this.#answers) {
      for (const answer of hosts.values()) {
        if (answer.kind !== "offers") continue;
        for (const { step, stateHash, proof } of answer.states) {
          const states = byStep.get(step) ?? new Map<string, Offered>();
          byStep.set(step, states);
          const key = `${stage} ${stateHash}`;
          const offered = states.get(key) ?? { stage, step, stateHash, proofs: [] };
          states.set(key, offered);
          if (proof !== null) offered.proofs.push(proof);
        }
      }
    }
    const { stages } = this.#options;
    return [...byStep].sort(([one], [other]) => other - one).map(([, states]) => [...states.values()])
      .filter((states) => stages.every((wanted) => states.some(({ stage }) => stage === wanted)));
  }

  async #newestProved(
    steps: readonly (readonly Offered[])[],
  ): Promise<ReadonlyMap<number, Offered> | undefined> {
    for (const states of steps) {
      const proved = new Map<number, Offered>();
      for (const offered of states) {
        if (!proved.has(offered.stage) && await this.#isProved(offered)) proved.set(offered.stage, offered);
      }
      if (proved.size === this.#options.stages.length) return proved;
    }
    return undefined;
  }

  async #isProved({ stage, step, stateHash, proofs }: Offered): Promise<boolean> {
    const { run, firstStates, verify } = this.#options;
    if (step === 0) {
      if (firstStates?.[stage] === stateHash) return true;
      this.#trouble = "Cannot export: the run has taken no step";
      return false;
    }
    try {
      await proveState({ run, stage, step, stateHash }, proofs, verify);
      return true;
    } catch (error) {
      if (!(error instanceof UnprovedState)) throw error;
      this.#trouble = error.message;
      return false;
    }
  }

  // --- the pieces ---------------------------------------------------------------------------------

  #open(chosen: ReadonlyMap<number, Offered>): void {
    this.#phase = "fetching";
    this.#timer?.cancel();
    const [{ step }] = chosen.values();
    const states = new Map([...chosen].map(([stage, { stateHash }]) => [stage, stateHash]));
    this.#context.trace("export begins", { step, stages: states.size });
    this.#jobs.start(
      { kind: "open", amount: 1 },
      () => this.#options.open(step, states),
      (sinks) => {
        if (this.#phase !== "fetching") return;
        for (const [stage, offered] of chosen) this.#fetch(offered, sinks.get(stage)!);
      },
      (error) => this.#end(error),
    );
  }

  #fetch({ stage, stateHash }: Offered, sink: WeightSink): void {
    // Who has not answered yet may have it as well.
    const donors = [...this.#answers.get(stage)!].flatMap(([peer, { kind }]) =>
      kind === "refused" ? [] : [peer]
    );
    const transfer = new Transfer({
      context: this.#context,
      purpose: "export",
      stateHash,
      donors,
      check: (manifest) => this.#options.check(stage, manifest),
      sink: {
        pieces: sink.pieces,
        keep: (piece, bytes, kept) => {
          const before = this.#writing.get(stage);
          const write = async () => {
            await before;
            await sink.write(piece, bytes);
          };
          const writing = write();
          this.#writing.set(stage, writing);
          // Whoever waits for it hears of its failure.
          writing.catch(() => {});
          this.#jobs.start({ kind: "write", amount: 1 }, () => writing, kept, (error) => this.#end(error));
        },
      },
      whole: () => {
        this.#transfers.delete(stateHash);
        if (this.#transfers.size === 0) this.#end();
      },
      failed: (reason) => this.#end(new ExportFailed(`${reason}; stage ${stage} is not whole`)),
    });
    this.#transfers.set(stateHash, transfer);
    transfer.start();
  }

  #end(error?: unknown): void {
    if (this.#phase === "over") return;
    this.stop();
    if (error === undefined) return this.#options.onEnd();
    this.#options.onEnd(error instanceof Error ? error : new Error(reasonOf(error)));
  }
}

/** The role of a peer that takes weights out of a run. */
export function exporter(options: ExporterOptions) {
  return behaviour("exporter", (context) => new Exporter(context, options));
}
