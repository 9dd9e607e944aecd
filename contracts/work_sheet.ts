/**
 * What a host has worked in one step of training: a receipt for each micro-batch
 * that it accumulated, signed all at once, and what its neighbours acknowledge of
 * it, signed all at once as well. It binds chain, contract, model, stage and step;
 * it can't tell whether the numbers were right, only who says that they passed.
 */

import { keccak_256 } from "@noble/hashes/sha3.js";
import { z } from "zod";
import { type Deployment, escrowDomain } from "./deployment.ts";
import { type DigestSigner, signerOf } from "./signing.ts";
import { addressSchema, signatureSchema, stageSchema, TypedData, wordSchema } from "./typed_data.ts";

/** A micro-batch that a host accumulated. */
export interface WorkItem {
  /** Its number in the step. */
  readonly microBatch: number;
  /** Names its walk, 32 bytes. */
  readonly request: string;
  /** Signer that gave the input: a host of the stage before, or the trainer. */
  readonly previous: string;
  /** SHA-256 of what came in, 32 bytes. */
  readonly inRoot: string;
  /** And of what went out. */
  readonly outRoot: string;
  /** That were worked on. */
  readonly tokens: number;
}

/** A neighbour's word: these micro-batches passed between us as the sheet says. */
export interface Acknowledgement {
  /** The neighbour's signer. */
  readonly by: string;
  /** Of the sheet, ascending. */
  readonly microBatches: readonly number[];
  /** Of the neighbour. */
  readonly signature: string;
}

/** A host's work of one step, or a part of it. */
export interface WorkSheet {
  /** What the model is called on the ledger, `0x…`. */
  readonly model: string;
  /** Of the model, from 0. */
  readonly stage: number;
  /** Steps that had been taken before this one. */
  readonly step: number;
  /** The key that the host signs with. */
  readonly host: string;
  /** By micro-batch, ascending. */
  readonly items: readonly WorkItem[];
  /** Of the host, over all of the above. */
  readonly signature: string;
  /** What neighbours say to it. */
  readonly acknowledgements: readonly Acknowledgement[];
}

/** Items of one sheet: what a step has beyond that goes onto another. */
export const SHEET_ITEMS_MAX = 256;
/** Neighbours of one sheet: each item has two at most. */
export const ACKNOWLEDGEMENTS_MAX = 64;

const microBatchSchema = z.int().min(0).max(65_535);
const lowerAddress = addressSchema.refine((it) => it === it.toLowerCase());

/** Shape and bounds of an item that a stranger wrote. */
export const workItemSchema: z.ZodType<WorkItem> = z.strictObject({
  microBatch: microBatchSchema,
  request: wordSchema,
  previous: lowerAddress,
  inRoot: wordSchema,
  outRoot: wordSchema,
  tokens: z.int().min(0).lt(2 ** 32),
});

/** Shape and bounds of a stranger's items. */
export const workItemsSchema: z.ZodType<readonly WorkItem[]> = z.array(workItemSchema).min(1).max(
  SHEET_ITEMS_MAX,
).refine(
  (items) => items.every((item, at) => at === 0 || items[at - 1].microBatch < item.microBatch),
  { error: "micro-batches that ascend" },
);

/** Shape and bounds of a stranger's acknowledgement. */
export const acknowledgementSchema: z.ZodType<Acknowledgement> = z.strictObject({
  by: lowerAddress,
  microBatches: z.array(microBatchSchema).min(1).max(SHEET_ITEMS_MAX),
  signature: signatureSchema,
});

/** Shape and bounds of a sheet that a stranger wrote. */
export const workSheetSchema: z.ZodType<WorkSheet> = z.strictObject({
  model: wordSchema,
  stage: stageSchema,
  step: z.int().min(0),
  host: lowerAddress,
  items: workItemsSchema,
  signature: signatureSchema,
  acknowledgements: z.array(acknowledgementSchema).max(ACKNOWLEDGEMENTS_MAX),
});

const keptSchema = z.array(z.strictObject({ part: z.int().min(0), sheet: workSheetSchema }));

const SHEET_PREFIX = new TextEncoder().encode("murmuration work sheet 1\n");
const ACKNOWLEDGED_PREFIX = new TextEncoder().encode("murmuration work acknowledged 1\n");

/** What a sheet says before anybody has signed it. */
export type UnsignedSheet = Omit<WorkSheet, "signature" | "acknowledgements">;

/** Signs and checks the sheets of one ledger. */
export class WorkSheets {
  readonly #data: TypedData;

  constructor(deployment: Deployment) {
    this.#data = new TypedData(escrowDomain(deployment));
  }

  /** A host's sheet, which nobody has acknowledged yet. */
  sign(sheet: UnsignedSheet, signer: DigestSigner): WorkSheet {
    return {
      ...sheet,
      signature: signer.sign(this.#digest(SHEET_PREFIX, sheet, () => true)),
      acknowledgements: [],
    };
  }

  /** A neighbour's word for some micro-batches of a sheet. */
  acknowledge(
    sheet: UnsignedSheet,
    microBatches: readonly number[],
    signer: DigestSigner,
  ): Acknowledgement {
    const sorted = [...microBatches].sort((a, b) => a - b);
    const digest = this.#acknowledged(sheet, sorted);
    return { by: signer.address, microBatches: sorted, signature: signer.sign(digest) };
  }

  /** Whether a neighbour has really said so. */
  isAcknowledged(sheet: UnsignedSheet, { by, microBatches, signature }: Acknowledgement): boolean {
    return signerOf(this.#acknowledged(sheet, microBatches), signature) === by;
  }

  /** Whether its host, and all who acknowledge it, have signed a sheet. */
  isSigned(sheet: WorkSheet): boolean {
    const { host, signature, acknowledgements } = sheet;
    return signerOf(this.#digest(SHEET_PREFIX, sheet, () => true), signature) === host &&
      acknowledgements.every((it) => this.isAcknowledged(sheet, it));
  }

  #acknowledged(sheet: UnsignedSheet, microBatches: readonly number[]): Uint8Array {
    const chosen = new Set(microBatches);
    return this.#digest(ACKNOWLEDGED_PREFIX, sheet, ({ microBatch }) => chosen.has(microBatch));
  }

  /** Over the digests of the receipts, so that a dispute can begin with any of them. */
  #digest(
    prefix: Uint8Array,
    { model, stage, host, step, items }: UnsignedSheet,
    chosen: (item: WorkItem) => boolean,
  ): Uint8Array {
    const hash = keccak_256.create().update(prefix);
    for (const item of items) {
      if (!chosen(item)) continue;
      const { request, previous, inRoot, outRoot, tokens } = item;
      hash.update(
        this.#data.receipt({ request, model, stage, host, previous, inRoot, outRoot, step, tokens }),
      );
    }
    return hash.digest();
  }
}

/** A sheet from a stranger's text; `undefined` if it is none. */
export function readSheet(text: string): WorkSheet | undefined {
  try {
    return workSheetSchema.safeParse(JSON.parse(text)).data;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

/**
 * Sheets that were written down as `[{ part, sheet }]`.
 *
 * @throws {Error} if they can't be read: what is in there is money.
 */
export function readSheets(text: string): { readonly part: number; readonly sheet: WorkSheet }[] {
  return keptSchema.parse(JSON.parse(text));
}

/** Reads sheets that neighbours send, and acknowledges them with a key. */
export function sheetCodec(
  sheets: WorkSheets,
  { model, signer, accountOf }: {
    readonly model: string;
    readonly signer: DigestSigner;
    readonly accountOf: (peer: string) => string | undefined;
  },
): {
  /** `undefined` if it is no sheet of this model and neighbour. */
  read(from: string, text: string): WorkSheet | undefined;
  acknowledge(sheet: WorkSheet, microBatches: readonly number[]): string;
} {
  return {
    read(from, text) {
      const sheet = readSheet(text);
      return sheet?.model === model && sheet.host === accountOf(from) ? sheet : undefined;
    },
    acknowledge: (sheet, microBatches) => JSON.stringify(sheets.acknowledge(sheet, microBatches, signer)),
  };
}
