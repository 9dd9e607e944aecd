/**
 * An epoch of training as a document: the work sheets of its steps, and what
 * follows from them for everybody. Whoever has it and the one before can compute it
 * anew, and say what is wrong with it. It is pure: it asks no chain and no peer.
 *
 * Of what an epoch brings to a stage everybody gets the share of its work in the
 * last eight epochs: who works once and goes earns it slowly, and less.
 */

import { createHash } from "node:crypto";
import { z } from "zod";
import type { Deployment } from "./deployment.ts";
import { type RewardTree, rewardTree } from "./reward_tree.ts";
import { addressSchema, stageSchema, wordSchema } from "./typed_data.ts";
import { type WorkSheet, WorkSheets, workSheetSchema } from "./work_sheet.ts";

/** What all epochs of a model have in common. */
export interface EpochRules {
  /** The contracts that pay. */
  readonly deployment: Deployment;
  /** What the model is called on the ledger, `0x…`. */
  readonly model: string;
  /** Operations of one micro-batch at each stage, there and back. */
  readonly stageWork: readonly bigint[];
  /** Micro-batches of a step. */
  readonly microBatches: number;
  /** Whose signer this is, or was, at a stage. */
  readonly ownerOf: (signer: string, stage: number) => string | undefined;
}

/** Micro-batches of one account at one stage. */
export interface Share {
  /** Of the model, from 0. */
  readonly stage: number;
  /** Who is paid, `0x…`. */
  readonly account: string;
  /** How many. */
  readonly microBatches: number;
}

/** What one account has earned at one stage since the beginning. */
export interface Balance {
  /** Of the model, from 0. */
  readonly stage: number;
  /** Who is paid, `0x…`. */
  readonly account: string;
  /** All that its work at the stage has earned so far. */
  readonly rewardUnits: bigint;
  /** Operations. */
  readonly credit: bigint;
}

/** An epoch, for everybody to check. */
export interface EpochDocument {
  /** Of this format. */
  readonly version: 1;
  /** Of the chain that pays. */
  readonly chainId: number;
  /** The contract that pays. */
  readonly rewards: string;
  /** What the model is called on the ledger, `0x…`. */
  readonly model: string;
  /** Counted from 1. */
  readonly epoch: number;
  /** Hash of the document before; `null` for the first. */
  readonly previous: string | null;
  /** Its steps: from where the epoch before ended to before this one. */
  readonly beforeStep: number;
  /** Keys of the trainers that fed them. */
  readonly trainers: readonly string[];
  /** What the epoch brings to each stage. */
  readonly stageUnits: readonly bigint[];
  /** What was worked since the epoch before. */
  readonly sheets: readonly WorkSheet[];
  /** Work of this epoch, last, and of up to seven before. */
  readonly window: readonly (readonly Share[])[];
  /** What everybody has earned so far. */
  readonly balances: readonly Balance[];
}

/** What is new in an epoch. */
export interface EpochNews {
  readonly epoch: number;
  readonly beforeStep: number;
  readonly trainers: readonly string[];
  readonly stageUnits: readonly bigint[];
  readonly sheets: readonly WorkSheet[];
}

/** A document, and the name that it goes by. */
export interface NamedDocument {
  /** What it says. */
  readonly document: EpochDocument;
  /** SHA-256 of its text, `0x…`. */
  readonly hash: string;
  /** The document as it travels. */
  readonly text: string;
}

/** Epochs over which work is shared. */
export const WINDOW_EPOCHS = 8;
/** Characters of a document: some 30,000 sheets of a few micro-batches. */
export const DOCUMENT_CHARACTERS_MAX = 64 * 1024 * 1024;

const SHEETS_MAX = 65_536;
const ACCOUNTS_MAX = 65_536;
const TRAINERS_MAX = 64;
const STAGES_MAX = 256;

const units = z.string().regex(/^\d{1,39}$/).transform(BigInt).refine((it) => it < 1n << 128n);

const documentSchema: z.ZodType<EpochDocument> = z.strictObject({
  version: z.literal(1),
  chainId: z.int().min(1),
  rewards: addressSchema,
  model: wordSchema,
  epoch: z.int().min(1),
  previous: wordSchema.nullable(),
  beforeStep: z.int().min(0),
  trainers: z.array(addressSchema).max(TRAINERS_MAX),
  stageUnits: z.array(units).min(1).max(STAGES_MAX),
  sheets: z.array(workSheetSchema).max(SHEETS_MAX),
  window: z.array(
    z.array(z.strictObject({
      stage: stageSchema,
      account: addressSchema,
      microBatches: z.int().min(1),
    })).max(ACCOUNTS_MAX),
  ).min(1).max(WINDOW_EPOCHS),
  balances: z.array(z.strictObject({
    stage: stageSchema,
    account: addressSchema,
    rewardUnits: units,
    credit: units,
  })).max(ACCOUNTS_MAX),
}).refine(
  ({ stageUnits: { length }, window, balances }) =>
    [...window.flat(), ...balances].every(({ stage }) => stage < length),
  { error: "stages that it pays for" },
);

/** Writes an epoch: what follows from its news and the epoch before. */
export function writeEpoch(
  rules: EpochRules,
  before: NamedDocument | undefined,
  news: EpochNews,
): NamedDocument {
  const { deployment: { chainId, rewards }, model } = rules;
  const shares = countWork(rules, before?.document.beforeStep ?? 0, news);
  const window = [...before?.document.window ?? [], shares].slice(-WINDOW_EPOCHS);
  const balances = pay(rules, before?.document.balances ?? [], news.stageUnits, window);
  const { epoch, beforeStep, trainers, stageUnits, sheets } = news;
  return named({
    version: 1,
    chainId,
    rewards: rewards.toLowerCase(),
    model,
    epoch,
    previous: before?.hash ?? null,
    beforeStep,
    trainers,
    stageUnits,
    sheets,
    window,
    balances,
  });
}

/**
 * Reads a document that somebody else wrote.
 *
 * @throws {TypeError} if it is none.
 */
export function readEpoch(text: string): NamedDocument {
  if (text.length > DOCUMENT_CHARACTERS_MAX) {
    throw new TypeError(
      `Cannot read an epoch: ${text.length} characters, at most ${DOCUMENT_CHARACTERS_MAX}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read an epoch: ${error.message}`);
  }
  const { data, error } = documentSchema.safeParse(value);
  if (error !== undefined) {
    const [issue] = error.issues;
    throw new TypeError(`Cannot read an epoch: ${issue.path.join(".") || "document"}: ${issue.message}`);
  }
  return { document: data, hash: documentHash(text), text };
}

/** The name of a document, by its content. */
export function documentHash(text: string): string {
  return `0x${createHash("sha256").update(text).digest("hex")}`;
}

/** What a document puts on the chain; `undefined` if nobody has earned anything yet. */
export function treeOf({ document }: NamedDocument): RewardTree | undefined {
  const { chainId, rewards, model, balances } = document;
  if (balances.length === 0) return undefined;
  return rewardTree(
    { chainId, rewards },
    balances.map(({ stage, account, rewardUnits, credit }) => ({
      model,
      stage,
      account,
      cumulativeRewardUnits: rewardUnits,
      cumulativeCredit: credit,
    })),
  );
}

/**
 * Computes an epoch anew.
 *
 * @param before the document that it names as the one before.
 * @returns what is wrong with it; `undefined` if nothing is.
 */
export function faultOf(
  rules: EpochRules,
  before: NamedDocument | undefined,
  claimed: NamedDocument,
): string | undefined {
  const { document } = claimed;
  const { chainId, rewards } = rules.deployment;
  if (document.chainId !== chainId || document.rewards !== rewards.toLowerCase()) {
    return "it is for another contract";
  }
  if (document.model !== rules.model) return "it is of another model";
  if (document.previous !== (before?.hash ?? null)) return "it follows another document";
  if (document.epoch !== (before?.document.epoch ?? 0) + 1) return "it follows another epoch";
  if (document.beforeStep < (before?.document.beforeStep ?? 0)) return "its steps run backwards";
  if (document.stageUnits.length !== rules.stageWork.length) return "it has other stages";
  const signed = new WorkSheets(rules.deployment);
  const bad = document.sheets.find((sheet) => sheet.model !== rules.model || !signed.isSigned(sheet));
  if (bad !== undefined) return `a sheet of ${bad.host} for step ${bad.step} is not signed by whom it names`;
  const anew = writeEpoch(rules, before, document).document;
  if (textOf(anew.window) !== textOf(document.window)) return "it counts other work";
  return textOf(anew.balances) === textOf(document.balances) ? undefined : "it pays other amounts";
}

/** Micro-batches that both neighbours have acknowledged, each cell of the steps at most once. */
function countWork(rules: EpochRules, fromStep: number, news: EpochNews): Share[] {
  const { stageWork, microBatches, ownerOf } = rules;
  const last = stageWork.length - 1;
  const trainers = new Set(news.trainers);
  const counts = new Map<string, { stage: number; account: string; microBatches: number }>();
  const counted = new Set<string>();
  for (const { stage, step, host, items, acknowledgements } of news.sheets) {
    const account = ownerOf(host, stage);
    if (account === undefined || stage > last || step < fromStep || step >= news.beforeStep) continue;
    const byItem = acknowledgers(acknowledgements);
    for (const { microBatch, previous } of items) {
      const by = byItem.get(microBatch) ?? [];
      // An operator that has moved may hold keys of several stages: nobody vouches for itself.
      const isAnother = (signer: string, at: number) => ![undefined, account].includes(ownerOf(signer, at));
      const isKnown = stage === 0 ? trainers.has(previous) : isAnother(previous, stage - 1);
      const isGiven = isKnown && by.includes(previous);
      const isTaken = stage === last || by.some((it) => isAnother(it, stage + 1));
      const cell = `${step} ${stage} ${microBatch}`;
      if (!isGiven || !isTaken || microBatch >= microBatches || counted.has(cell)) continue;
      counted.add(cell);
      const key = `${stage} ${account}`;
      const share = counts.get(key) ?? { stage, account, microBatches: 0 };
      share.microBatches++;
      counts.set(key, share);
    }
  }
  return [...counts.values()].sort(byPlace);
}

/** Who acknowledges which micro-batch. */
function acknowledgers(list: WorkSheet["acknowledgements"]): Map<number, string[]> {
  const byItem = new Map<number, string[]>();
  for (const { by, microBatches } of list) {
    for (const microBatch of microBatches) {
      byItem.set(microBatch, [...byItem.get(microBatch) ?? [], by]);
    }
  }
  return byItem;
}

/** Adds what an epoch brings to what everybody had. */
function pay(
  { stageWork }: EpochRules,
  before: readonly Balance[],
  stageUnits: readonly bigint[],
  window: EpochDocument["window"],
): Balance[] {
  const worked = new Map<string, { stage: number; account: string; microBatches: bigint; now: bigint }>();
  const totals = stageUnits.map(() => 0n);
  for (const [at, shares] of window.entries()) {
    for (const { stage, account, microBatches } of shares) {
      const key = `${stage} ${account}`;
      const entry = worked.get(key) ?? { stage, account, microBatches: 0n, now: 0n };
      entry.microBatches += BigInt(microBatches);
      if (at === window.length - 1) entry.now = BigInt(microBatches);
      totals[stage] += BigInt(microBatches);
      worked.set(key, entry);
    }
  }
  const balances = new Map(before.map((it) => [`${it.stage} ${it.account}`, it]));
  for (const [key, { stage, account, microBatches, now }] of worked) {
    const { rewardUnits = 0n, credit = 0n } = balances.get(key) ?? {};
    balances.set(key, {
      stage,
      account,
      rewardUnits: rewardUnits + stageUnits[stage] * microBatches / totals[stage],
      credit: credit + now * stageWork[stage],
    });
  }
  return [...balances.values()].sort(byPlace);
}

function byPlace(left: Pick<Share, "stage" | "account">, right: Pick<Share, "stage" | "account">): number {
  return left.stage - right.stage || (left.account < right.account ? -1 : 1);
}

function named(document: EpochDocument): NamedDocument {
  const text = textOf(document);
  return { document, hash: documentHash(text), text };
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_, it) => typeof it === "bigint" ? `${it}` : it);
}
