/**
 * A host's side of its run's accounts: writes a sheet of what it worked in each step
 * that was taken, has its neighbours acknowledge it, brings it to the trainer that
 * coordinates, and keeps it on disk until an epoch has counted it. It claims what
 * final epochs say that its operator has earned. It proposes nothing.
 */

import type { Context, Envelope, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import {
  CLAIM_PERIOD_MS,
  EPOCH_BYTES_MAX,
  REDEEM_PERIOD_MS,
  SHEET_RESEND_MS,
  SHEETS_KEPT_MAX,
  VOUCH_LIMIT_MS,
} from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import { requestOf, rootText, WorkLog } from "./receipts.ts";
import { KeptText } from "./kept_text.ts";
import { behaviour, Jobs, reasonOf, type Role } from "./role.ts";
import { VOUCH_TIMER, Vouching } from "./vouching.ts";
import { readEpoch, treeOf } from "../contracts/epoch.ts";
import type { EpochStore } from "../contracts/epoch_store.ts";
import type { Journal } from "../contracts/journal.ts";
import type { Ledger } from "../contracts/ledger.ts";
import type { DigestSigner } from "../contracts/signing.ts";
import {
  acknowledgementSchema,
  readSheets,
  SHEET_ITEMS_MAX,
  sheetCodec,
  type WorkSheet,
  WorkSheets,
} from "../contracts/work_sheet.ts";
import type { Deployment } from "../contracts/deployment.ts";

/** What keeps a host's account. */
export interface EarnerOptions {
  /** Hash of the run's manifest. */
  readonly run: string;
  /** The contracts that pay. */
  readonly deployment: Deployment;
  /** What the model is called on the ledger. */
  readonly model: string;
  /** The host's own key: the one that is registered for its stage. */
  readonly signer: DigestSigner;
  /** Under which key a peer signs. */
  readonly accountOf: (peer: PeerId) => string | undefined;
  /** The work of one micro-batch, in tokens. */
  readonly tokensPerMicroBatch: number;
  /** Who is paid for what this host does at a stage; `undefined` if nobody is. */
  readonly ownerOf: (stage: number) => string | undefined;
  /** Sends claims; it needs gas and nothing else. */
  readonly ledger: Pick<Ledger, "claim" | "syncCredit">;
  /** Redeems what serving texts has brought. Default: nothing is served for money. */
  readonly redeem?: () => Promise<void>;
  /** Documents of epochs, for everybody who asks. */
  readonly epochs: EpochStore;
  /** Sheets that no epoch has counted yet. */
  readonly journal: Journal;
}

/** A sheet under way. */
interface Pending {
  readonly part: number;
  readonly leader: PeerId | null;
  sheet: WorkSheet;
  /** Neighbours that have not answered. */
  readonly awaited: Set<PeerId>;
  readonly timer: Timer;
}

/** A sheet that its neighbours have answered for. */
interface Kept {
  readonly part: number;
  readonly sheet: WorkSheet;
  noted: boolean;
}

const LIMIT_TIMER = "sheet";
const RESEND_TIMER = "resend";
const REDEEM_TIMER = "redeem";

class Earner implements Role {
  readonly #context: Context<Message>;
  readonly #options: EarnerOptions;
  readonly #jobs: Jobs;
  readonly #log: WorkLog;
  readonly #sheets: WorkSheets;
  readonly #vouching: Vouching<WorkSheet>;
  readonly #text: KeptText;
  readonly #pending = new Map<string, Pending>();
  readonly #kept = new Map<string, Kept>();
  #leader: PeerId | null = null;
  /** The document that was asked for, and from whom. */
  #asked: { readonly hash: string; readonly isFinal: boolean } | undefined;
  #claimedAtMs = -Infinity;

  constructor(context: Context<Message>, options: EarnerOptions) {
    this.#context = context;
    this.#options = options;
    this.#jobs = new Jobs(context);
    this.#log = new WorkLog(options.run);
    this.#sheets = new WorkSheets(options.deployment);
    this.#vouching = new Vouching(context, this.#log, sheetCodec(this.#sheets, options));
    this.#text = new KeptText(
      this.#jobs,
      options.journal,
      () => JSON.stringify([...this.#kept.values()].map(({ part, sheet }) => ({ part, sheet }))),
      (error) => this.#context.trace("trouble", { reason: reasonOf(error) }),
    );
    this.#load();
    this.#setResendTimer();
    this.#setRedeemTimer();
  }

  receive({ from, message }: Envelope<Message>): void {
    switch (message.kind) {
      case "performed":
        return this.#jobs.end(message.job, message.outcome);
      case "worked":
        return this.#log.note(message);
      case "stepTaken":
        return this.#onStepTaken(message);
      case "vouch":
        return this.#vouching.onVouch(from, message);
      case "vouched":
        return this.#onVouched(from, message);
      case "sheetNoted":
        return this.#onNoted(from, message);
      case "epochNews":
        return this.#onNews(from, message);
      case "epochRequest":
        return this.#onRequest(from, message);
      case "epochDocument":
        return this.#onDocument(message);
      case "peerLost":
        for (const [key, { awaited }] of [...this.#pending]) {
          if (awaited.delete(message.peer) && awaited.size === 0) this.#finish(key);
        }
        return;
      case "timer":
        return this.#onTimer(message);
    }
  }

  // --- sheets -------------------------------------------------------------------------------------

  #load(): void {
    this.#text.load((text) => {
      for (const { part, sheet } of text === undefined ? [] : readSheets(text)) {
        this.#kept.set(`${sheet.step} ${part}`, { part, sheet, noted: false });
      }
    });
  }

  #onStepTaken({ step, microBatches, leader }: MessageOf<"stepTaken">): void {
    this.#leader = leader;
    const { run, model, signer, accountOf, tokensPerMicroBatch: tokens } = this.#options;
    const notes = this.#log.counted(step, microBatches);
    for (let part = 0; part * SHEET_ITEMS_MAX < notes.length; part++) {
      const own = notes.slice(part * SHEET_ITEMS_MAX, (part + 1) * SHEET_ITEMS_MAX);
      const items = own.map(({ walk, previous, inRoot, outRoot }) => ({
        microBatch: walk.microBatch,
        request: requestOf(run, walk),
        previous: accountOf(previous) ?? signer.address,
        inRoot: rootText(inRoot),
        outRoot: rootText(outRoot),
        tokens,
      }));
      const sheet = this.#sheets.sign(
        { model, stage: own[0].stage, step, host: signer.address, items },
        signer,
      );
      const neighbours = own.flatMap(({ previous, next }) => next === null ? [previous] : [previous, next]);
      this.#haveVouched(part, sheet, new Set(neighbours));
    }
  }

  #haveVouched(part: number, sheet: WorkSheet, awaited: Set<PeerId>): void {
    const key = `${sheet.step} ${part}`;
    const timer = this.#context.after(VOUCH_LIMIT_MS, { kind: "timer", name: LIMIT_TIMER, key });
    this.#pending.set(key, { part, leader: this.#leader, sheet, awaited, timer });
    const text = JSON.stringify(sheet);
    for (const peer of [...awaited]) {
      const sent = this.#context.tell({ peer, actor: "settler" }, { kind: "vouch", part, sheet: text });
      if (!sent) awaited.delete(peer);
    }
    if (awaited.size === 0) this.#finish(key);
  }

  #onVouched(from: PeerId, { step, part, acknowledgement: text }: MessageOf<"vouched">): void {
    const key = `${step} ${part}`;
    const pending = this.#pending.get(key);
    if (pending === undefined || !pending.awaited.delete(from)) return;
    const acknowledgement = text === null ? undefined : acknowledgementSchema.safeParse(parsed(text)).data;
    const isGood = acknowledgement !== undefined && acknowledgement.by === this.#options.accountOf(from) &&
      this.#sheets.isAcknowledged(pending.sheet, acknowledgement);
    if (isGood) {
      const { sheet } = pending;
      pending.sheet = { ...sheet, acknowledgements: [...sheet.acknowledgements, acknowledgement] };
    } else this.#context.trace("not acknowledged", { step, from });
    if (pending.awaited.size === 0) this.#finish(key);
  }

  #finish(key: string): void {
    const { part, sheet, timer } = this.#pending.get(key)!;
    timer.cancel();
    this.#pending.delete(key);
    this.#kept.set(key, { part, sheet, noted: false });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= SHEETS_KEPT_MAX) break;
      this.#kept.delete(oldest);
    }
    this.#text.save();
    this.#send(part, sheet);
  }

  #send(part: number, sheet: WorkSheet): void {
    if (this.#leader === null) return;
    this.#context.tell({ peer: this.#leader, actor: "settler" }, {
      kind: "workSheet",
      part,
      sheet: JSON.stringify(sheet),
    });
  }

  #onNoted(from: PeerId, { step, part, settledStep }: MessageOf<"sheetNoted">): void {
    if (from !== this.#leader) return;
    const kept = this.#kept.get(`${step} ${part}`);
    if (kept !== undefined) kept.noted = true;
    const before = this.#kept.size;
    for (const [key, { sheet, noted }] of [...this.#kept]) {
      if (noted && sheet.step < settledStep) this.#kept.delete(key);
    }
    if (this.#kept.size < before) this.#text.save();
  }

  /** One write at a time, each with all that is kept by then. */
  #setResendTimer(): void {
    this.#context.after(SHEET_RESEND_MS, { kind: "timer", name: RESEND_TIMER, key: "" });
  }

  #setRedeemTimer(): void {
    if (this.#options.redeem === undefined) return;
    this.#context.after(REDEEM_PERIOD_MS, { kind: "timer", name: REDEEM_TIMER, key: "" });
  }

  #redeem(redeem: () => Promise<void>): void {
    const over = () => this.#setRedeemTimer();
    this.#jobs.start({ kind: "redeem", amount: 1 }, redeem, over, (error) => {
      this.#context.trace("trouble", { reason: reasonOf(error) });
      over();
    });
  }

  #onTimer({ name, key }: MessageOf<"timer">): void {
    switch (name) {
      case REDEEM_TIMER:
        return this.#redeem(this.#options.redeem!);
      case VOUCH_TIMER:
        return this.#vouching.onTimer(key);
      case LIMIT_TIMER:
        return this.#pending.has(key) ? this.#finish(key) : undefined;
      case RESEND_TIMER: {
        const waiting = [...this.#kept.values()].filter(({ noted }) => !noted).slice(0, RESENT_MAX);
        for (const { part, sheet } of waiting) this.#send(part, sheet);
        return this.#setResendTimer();
      }
    }
  }

  // --- epochs -------------------------------------------------------------------------------------

  #onNews(from: PeerId, { hash, isFinal }: MessageOf<"epochNews">): void {
    if (from !== this.#leader) return;
    this.#jobs.start(
      { kind: "look", amount: 1 },
      () => this.#options.epochs.get(`0x${hash}`),
      (text) => {
        if (text !== undefined) return isFinal ? this.#claim(text) : undefined;
        this.#asked = { hash, isFinal };
        this.#context.tell({ peer: from, actor: "settler" }, { kind: "epochRequest", hash });
      },
      (error) => this.#context.trace("trouble", { reason: reasonOf(error) }),
    );
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

  #onDocument({ hash, bytes }: MessageOf<"epochDocument">): void {
    const asked = this.#asked;
    if (asked?.hash !== hash || bytes.byteLength > EPOCH_BYTES_MAX) return;
    this.#asked = undefined;
    const text = new TextDecoder().decode(bytes);
    try {
      if (readEpoch(text).hash !== `0x${hash}`) return;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      return this.#context.trace("epoch ignored", { reason: error.message });
    }
    this.#jobs.start(
      { kind: "keep", amount: 1 },
      () => this.#options.epochs.put(text),
      () => asked.isFinal ? this.#claim(text) : undefined,
      (error) => this.#context.trace("trouble", { reason: reasonOf(error) }),
    );
  }

  /** The contract believes proofs alone, so it does not matter who said that the epoch is final. */
  #claim(text: string): void {
    const nowMs = this.#context.clock.nowMs();
    if (nowMs - this.#claimedAtMs < CLAIM_PERIOD_MS) return;
    this.#claimedAtMs = nowMs;
    const epoch = readEpoch(text);
    const { model, ownerOf, ledger } = this.#options;
    const { epoch: number, balances } = epoch.document;
    const own = balances.filter(({ stage, account }) => ownerOf(stage) === account);
    this.#jobs.start(
      { kind: "claim", amount: own.length },
      async () => {
        for (const { stage, account } of own) {
          const proof = treeOf(epoch)!.proofOf(model, stage, account, number)!;
          await ledger.claim(proof);
          await ledger.syncCredit(proof);
        }
      },
      () => this.#context.trace("claimed", { epoch: number }),
      (error) => this.#context.trace("trouble", { reason: reasonOf(error) }),
    );
  }
}

/** Sheets that are sent again at once. */
const RESENT_MAX = 64;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

/** The role of a host's accounts. */
export function earner(options: EarnerOptions) {
  return behaviour("settler", (context) => new Earner(context, options));
}
