/**
 * The trainer's side of its run's accounts: collects the sheets of what hosts have
 * worked, writes an epoch when all of a few steps is there, or waited for long
 * enough, publishes it by its content, and puts its root on the ledger under a bond.
 * What is not final yet is on disk. It decides no amounts: they follow from the
 * sheets, and anybody can compute them anew.
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import {
  MEMBERS_MAX,
  SETTLE_PERIOD_MS,
  SETTLE_WAIT_MS_MAX,
  SHEETS_COLLECTED_MAX,
  WORK_GRACE_MS,
} from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { WorkLog } from "./receipts.ts";
import { KeptText } from "./kept_text.ts";
import { behaviour, Jobs, reasonOf, type Role } from "./role.ts";
import { VOUCH_TIMER, Vouching } from "./vouching.ts";
import { type EpochRules, type NamedDocument, readEpoch, treeOf, writeEpoch } from "../contracts/epoch.ts";
import type { EpochStore } from "../contracts/epoch_store.ts";
import type { Journal } from "../contracts/journal.ts";
import type { Emission, EpochState, Ledger } from "../contracts/ledger.ts";
import type { DigestSigner } from "../contracts/signing.ts";
import { readSheet, readSheets, sheetCodec, type WorkSheet, WorkSheets } from "../contracts/work_sheet.ts";

/** What keeps a trainer's accounts. */
export interface SettlerOptions {
  /** Hash of the run's manifest. */
  readonly run: string;
  /** What all epochs have in common. */
  readonly rules: EpochRules;
  /** The trainer's key as a peer. */
  readonly signer: DigestSigner;
  /** Under which key a peer signs. */
  readonly accountOf: (peer: PeerId) => string | undefined;
  /** Whose signer this is now; asks the chain about one that is not known. */
  readonly ownerNow: (signer: string, stage: number) => Promise<string | undefined>;
  /** Of the account that proposes, which has staked the bond; without it nothing is proposed. */
  readonly ledger: SettlerLedger | undefined;
  /** Documents of epochs, for everybody who asks. */
  readonly epochs: EpochStore;
  /** Sheets that no final epoch has counted. */
  readonly journal: Journal;
  /** Told of each epoch that was proposed, and of each that is final. */
  readonly onEpoch?: (epoch: number, isFinal: boolean) => void;
  /** Told what keeps an epoch from being settled. */
  readonly onTrouble?: (reason: string) => void;
  /** Told once, after `settle`, when all that was worked is proposed, and final if that takes no long. */
  readonly onSettled?: () => void;
}

/** What a settler asks of the ledger. */
export type SettlerLedger = Pick<
  Ledger,
  "epochOf" | "emissionOf" | "proposalOf" | "proposeEpoch" | "finalizeEpoch"
>;

/** What the ledger said last. */
interface Look {
  readonly state: EpochState;
  readonly emission: Emission;
  /** The last final epoch; `undefined` before the first. */
  readonly final: NamedDocument | undefined;
}

/** A step that was taken. */
interface Taken {
  readonly atMs: number;
  /** Micro-batches of each host, by the key that it signs with. */
  readonly served: ReadonlyMap<string, number>;
}

const LOOK_TIMER = "look";

class Settler implements Role {
  readonly #context: Context<Message>;
  readonly #options: SettlerOptions;
  readonly #jobs: Jobs;
  readonly #log: WorkLog;
  readonly #signed: WorkSheets;
  readonly #vouching: Vouching<WorkSheet>;
  readonly #text: KeptText;
  /** By host, step and part. */
  readonly #sheets = new Map<string, { readonly part: number; readonly sheet: WorkSheet }>();
  /** Stages and micro-batches that sheets speak of, by step. */
  readonly #cells = new Map<number, Set<string>>();
  readonly #taken = new Map<number, Taken>();
  readonly #hosts = new Set<PeerId>();
  readonly #trainers: Set<string>;
  #final: NamedDocument | undefined;
  /** Waits to become final. */
  #proposed: NamedDocument | undefined;
  #looking = false;
  #settlingSinceMs: number | undefined;

  constructor(context: Context<Message>, options: SettlerOptions) {
    this.#context = context;
    this.#options = options;
    this.#jobs = new Jobs(context);
    this.#log = new WorkLog(options.run);
    this.#signed = new WorkSheets(options.rules.deployment);
    const { signer, accountOf, rules: { model } } = options;
    this.#vouching = new Vouching(context, this.#log, sheetCodec(this.#signed, { model, signer, accountOf }));
    this.#trainers = new Set([signer.address]);
    this.#text = new KeptText(
      this.#jobs,
      options.journal,
      () => JSON.stringify([...this.#sheets.values()]),
      (error) => this.#trouble(error),
    );
    this.#load();
    this.#setTimer();
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "performed":
        return this.#jobs.end(message.job, message.outcome);
      case "worked":
        return this.#log.note(message);
      case "vouch":
        return this.#vouching.onVouch(from, message);
      case "workSheet":
        return this.#onSheet(from, message);
      case "stepServed":
        return this.#onStepServed(message);
      case "feeder": {
        const account = this.#options.accountOf(message.peer);
        if (account !== undefined) this.#trainers.add(account);
        return;
      }
      case "epochRequest":
        return this.#onRequest(from, message);
      case "settle":
        this.#settlingSinceMs ??= this.#context.clock.nowMs();
        return this.#look();
      case "timer":
        if (message.name === VOUCH_TIMER) return this.#vouching.onTimer(message.key);
        this.#setTimer();
        return this.#look();
    }
  }

  // --- sheets -------------------------------------------------------------------------------------

  #load(): void {
    this.#text.load((text) => {
      for (const { part, sheet } of text === undefined ? [] : readSheets(text)) this.#keep(part, sheet);
    });
  }

  #onStepServed({ step, served }: MessageOf<"stepServed">): void {
    const accounts = Object.entries(served).map(([peer, count]) =>
      [this.#options.accountOf(peer) ?? peer, count] as const
    );
    this.#taken.set(step, { atMs: this.#context.clock.nowMs(), served: new Map(accounts) });
  }

  #onSheet(from: PeerId, { part, sheet: text }: MessageOf<"workSheet">): void {
    const { accountOf, ownerNow, rules } = this.#options;
    const sheet = readSheet(text);
    if (sheet?.model !== rules.model || sheet.host !== accountOf(from)) {
      return this.#context.trace("sheet ignored", { from });
    }
    const key = `${sheet.host} ${sheet.step} ${part}`;
    if (this.#sheets.has(key) || sheet.step < this.#settledStep) return this.#note(from, sheet, part);
    if (this.#sheets.size >= SHEETS_COLLECTED_MAX || !this.#signed.isSigned(sheet)) {
      return this.#context.trace("sheet ignored", { from, step: sheet.step });
    }
    this.#jobs.start(
      { kind: "owner", amount: 1 },
      () => ownerNow(sheet.host, sheet.stage),
      () => {
        // It may have given its place up meanwhile.
        if (rules.ownerOf(sheet.host, sheet.stage) === undefined) {
          return this.#context.trace("sheet ignored", { from, reason: "it is nobody's signer" });
        }
        if (this.#hosts.size < MEMBERS_MAX) this.#hosts.add(from);
        this.#keep(part, sheet);
        this.#text.save();
        this.#note(from, sheet, part);
      },
      (error) => this.#context.trace("trouble", { reason: reasonOf(error) }),
    );
  }

  #keep(part: number, sheet: WorkSheet): void {
    const { host, stage, step, items } = sheet;
    this.#sheets.set(`${host} ${step} ${part}`, { part, sheet });
    const cells = this.#cells.get(step) ?? new Set();
    for (const { microBatch } of items) cells.add(`${stage} ${microBatch}`);
    this.#cells.set(step, cells);
  }

  #note(peer: PeerId, { step }: WorkSheet, part: number): void {
    const settledStep = this.#settledStep;
    this.#context.tell({ peer, actor: "settler" }, { kind: "sheetNoted", step, part, settledStep });
  }

  /** What was worked before it is counted, once and for ever. */
  get #settledStep(): number {
    return this.#final?.document.beforeStep ?? 0;
  }

  // --- epochs -------------------------------------------------------------------------------------

  #setTimer(): void {
    this.#context.after(SETTLE_PERIOD_MS, { kind: "timer", name: LOOK_TIMER, key: "" });
  }

  #look(): void {
    const { ledger } = this.#options;
    if (ledger === undefined) return this.#settled();
    if (this.#looking) return;
    this.#looking = true;
    this.#jobs.start({ kind: "look", amount: 1 }, () => this.#ask(ledger), (look) => {
      this.#looking = false;
      this.#onLook(ledger, look);
    }, (error) => {
      this.#looking = false;
      this.#trouble(error);
    });
  }

  async #ask(ledger: SettlerLedger): Promise<Look> {
    const { rules: { model } } = this.#options;
    let state = await ledger.epochOf(model);
    const { proposedRoot, challenged, finalSeconds } = state;
    if (proposedRoot !== undefined && !challenged && this.#nowSeconds() > finalSeconds) {
      await ledger.finalizeEpoch(model);
      state = await ledger.epochOf(model);
    }
    const emission = await ledger.emissionOf(model);
    return { state, emission, final: await this.#finalDocument(ledger, state.finalEpoch) };
  }

  /** What the last final epoch says; everything that follows is built on it. */
  async #finalDocument(ledger: SettlerLedger, epoch: number): Promise<NamedDocument | undefined> {
    if (epoch === (this.#final?.document.epoch ?? 0)) return this.#final;
    const { rules: { model }, epochs } = this.#options;
    const { leavesHash = "" } = await ledger.proposalOf(model, epoch) ?? {};
    if (leavesHash === this.#proposed?.hash) return this.#proposed;
    const text = await epochs.get(leavesHash);
    if (text === undefined) {
      throw new Error(`Cannot settle: the document of epoch ${epoch}, ${leavesHash}, is not here`);
    }
    return readEpoch(text);
  }

  #onLook(ledger: SettlerLedger, { state, emission, final }: Look): void {
    if (final !== undefined && final.hash !== this.#final?.hash) this.#onFinal(final);
    if (state.proposedRoot !== undefined) {
      const leftMs = 1000 * (state.finalSeconds - this.#nowSeconds());
      return this.#isAllProposed() && leftMs > SETTLE_WAIT_MS_MAX ? this.#settled() : undefined;
    }
    const beforeStep = this.#closedStep();
    if (beforeStep === this.#settledStep) return this.#isAllProposed() ? this.#settled() : undefined;
    if (this.#nowSeconds() < state.nextSeconds) return;
    const { rules } = this.#options;
    const epoch = writeEpoch(rules, this.#final, {
      epoch: state.finalEpoch + 1,
      beforeStep,
      trainers: [...this.#trainers].sort(),
      stageUnits: emission.stageUnits,
      sheets: this.#sheetsBefore(beforeStep),
    });
    this.#propose(ledger, epoch);
  }

  #onFinal(final: NamedDocument): void {
    this.#final = final;
    if (this.#proposed?.hash === final.hash) this.#proposed = undefined;
    for (const [key, { sheet }] of this.#sheets) {
      if (sheet.step < this.#settledStep) this.#sheets.delete(key);
    }
    for (const steps of [this.#taken, this.#cells]) {
      for (const step of steps.keys()) if (step < this.#settledStep) steps.delete(step);
    }
    this.#text.save();
    this.#tellHosts(final, true);
  }

  #propose(ledger: SettlerLedger, epoch: NamedDocument): void {
    const { rules: { model }, epochs } = this.#options;
    const tree = treeOf(epoch);
    // Nobody has earned anything, so there is nothing to put down.
    if (tree === undefined) return this.#settled();
    this.#looking = true;
    this.#jobs.start(
      { kind: "propose", amount: epoch.document.sheets.length },
      async () => {
        // Before the chain hears of its hash it can be had.
        await epochs.put(epoch.text);
        await ledger.proposeEpoch(model, epoch.document.epoch, { root: tree.root, leavesHash: epoch.hash });
      },
      () => {
        this.#looking = false;
        this.#proposed = epoch;
        this.#tellHosts(epoch, false);
        this.#look();
      },
      (error) => {
        this.#looking = false;
        this.#trouble(error);
      },
    );
  }

  /** Steps before this one are closed: all of them is there, or was waited for long enough. */
  #closedStep(): number {
    let step = this.#settledStep;
    const last = Math.max(-1, ...this.#taken.keys());
    while (step <= last && (this.#isComplete(step) || this.#isOver(step, last))) step++;
    return step;
  }

  #isComplete(step: number): boolean {
    const { microBatches, stageWork } = this.#options.rules;
    return (this.#cells.get(step)?.size ?? 0) >= microBatches * stageWork.length;
  }

  /** A step that somebody else led is as old as the first that is known after it. */
  #isOver(step: number, last: number): boolean {
    const nowMs = this.#context.clock.nowMs();
    for (let at = step; at <= last; at++) {
      const taken = this.#taken.get(at);
      if (taken !== undefined) return nowMs - taken.atMs > WORK_GRACE_MS;
    }
    return false;
  }

  /** What was collected, but for those that say more than the table of their step does. */
  #sheetsBefore(beforeStep: number): WorkSheet[] {
    const claimed = new Map<string, number>();
    const list = [...this.#sheets.values()].map(({ sheet }) => sheet).filter(({ step }) =>
      step >= this.#settledStep && step < beforeStep
    );
    const nameOf = ({ step, host }: WorkSheet) => `${step} ${host}`;
    for (const sheet of list) {
      claimed.set(nameOf(sheet), (claimed.get(nameOf(sheet)) ?? 0) + sheet.items.length);
    }
    return list.filter((sheet) => {
      const taken = this.#taken.get(sheet.step);
      return taken === undefined || claimed.get(nameOf(sheet))! <= (taken.served.get(sheet.host) ?? 0);
    }).sort((a, b) => a.step - b.step || a.stage - b.stage || (a.host < b.host ? -1 : 1));
  }

  #isAllProposed(): boolean {
    const before = this.#proposed?.document.beforeStep ?? this.#settledStep;
    return Math.max(-1, ...this.#taken.keys()) < before;
  }

  #settled(): void {
    if (this.#settlingSinceMs !== undefined) this.#options.onSettled?.();
  }

  #tellHosts({ document: { epoch }, hash }: NamedDocument, isFinal: boolean): void {
    for (const peer of this.#hosts) {
      this.#context.tell({ peer, actor: "settler" }, {
        kind: "epochNews",
        epoch,
        hash: hash.slice(2),
        isFinal,
      });
    }
    this.#options.onEpoch?.(epoch, isFinal);
  }

  #onRequest(from: PeerId, { hash }: MessageOf<"epochRequest">): void {
    this.#jobs.start(
      { kind: "look", amount: 1 },
      () => this.#options.epochs.get(`0x${hash}`),
      (text) => {
        if (text === undefined) return;
        const bytes = new TextEncoder().encode(text);
        this.#context.tell({ peer: from, actor: "settler" }, { kind: "epochDocument", hash, bytes });
      },
      (error) => this.#context.trace("trouble", { reason: reasonOf(error) }),
    );
  }

  #trouble(error: unknown): void {
    const reason = reasonOf(error);
    this.#context.trace("trouble", { reason });
    this.#options.onTrouble?.(reason);
  }

  #nowSeconds(): number {
    return this.#context.clock.epochMs() / 1000;
  }
}

/** The role of a trainer's accounts. */
export function settler(options: SettlerOptions) {
  return behaviour("settler", (context) => new Settler(context, options));
}
