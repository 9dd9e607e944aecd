/**
 * The table of one step: *micro-batch × stage → the host that accumulated it*,
 * the data that each micro-batch is from, and how often each was sent. It knows
 * what is missing and what can't be sent again; what is to be done about it, and
 * whether whoever reports may be believed, is for the step protocol to say
 * (`coordination.ts`).
 */

import type { PeerId } from "./core/actor.ts";
import type { Held } from "./messages.ts";

/** Loss of one micro-batch, as the last stage tells it. */
export interface Loss {
  readonly sum: number;
  readonly tokens: number;
}

/** A micro-batch that some stages have yet to count, and that is not under way. */
export interface Gap {
  readonly microBatch: number;
  /** Stages that have to count it. */
  readonly mask: readonly number[];
  /** The data that it is from; `undefined`: any. */
  readonly corpus: string | undefined;
}

/** What a host says that it holds, of its stage. */
export interface Holding {
  readonly peer: PeerId;
  readonly stage: number;
  readonly held: readonly Pair[];
  /** By micro-batch, as far as it knows them. */
  readonly losses: ReadonlyMap<number, Loss>;
}

/** A micro-batch, by its number and its data. */
export interface Pair {
  readonly microBatch: number;
  readonly corpus: string;
}

/** What a host holds, one micro-batch at a time. */
export function pairsOf(held: Held): Pair[] {
  return held.flatMap(({ corpus, microBatches }) =>
    microBatches.map((microBatch) => ({ microBatch, corpus }))
  );
}

interface Row {
  /** Who accumulated it, by stage. */
  readonly cells: (PeerId | undefined)[];
  /** The data that it is from, at every stage, once somebody feeds it. */
  corpus: string | undefined;
  loss: Loss | undefined;
  attempts: number;
  walking: boolean;
}

/** The table of one step. See the head of the file. */
export class StepTable {
  readonly #stages: number;
  #rows: Row[] = [];
  #emptyCells = 0;

  /** Empty until a step begins. */
  constructor(stages: number) {
    this.#stages = stages;
  }

  /** Nothing is to be counted. */
  clear(): void {
    this.#rows = [];
    this.#emptyCells = 0;
  }

  /** So many micro-batches are to be counted, and none has been. */
  begin(microBatches: number): void {
    this.#emptyCells = this.#stages * microBatches;
    this.#rows = Array.from({ length: microBatches }, () => ({
      cells: new Array<PeerId | undefined>(this.#stages).fill(undefined),
      corpus: undefined,
      loss: undefined,
      attempts: 0,
      walking: false,
    }));
  }

  /** Whether every stage has counted every micro-batch. */
  get isFull(): boolean {
    return this.#emptyCells === 0;
  }

  // --- what is counted ----------------------------------------------------------------------------

  /**
   * A host has counted a micro-batch. The first report wins: a second host that counted the same is found
   * out when all say what they hold.
   *
   * @param loss is needed of the last stage, and only there.
   * @returns whether it counts.
   */
  count(peer: PeerId, stage: number, { microBatch, corpus }: Pair, loss: Loss | undefined): boolean {
    const row = this.#rows.at(microBatch);
    if (row === undefined || corpus !== row.corpus || row.cells[stage] !== undefined) return false;
    if (this.#isLast(stage)) {
      if (loss === undefined) return false;
      row.loss = loss;
    }
    row.cells[stage] = peer;
    this.#emptyCells--;
    return true;
  }

  /**
   * Takes over what a host says that it holds, whole or not at all.
   *
   * @returns whether it contradicts nothing that was taken over before.
   */
  takeOver({ peer, stage, held, losses }: Holding): boolean {
    const isLast = this.#isLast(stage);
    const fits = held.every(({ microBatch, corpus }) => {
      const row = this.#rows.at(microBatch);
      return row !== undefined && row.cells[stage] === undefined && (row.corpus ?? corpus) === corpus &&
        (!isLast || losses.has(microBatch));
    });
    if (!fits) return false;
    for (const { microBatch, corpus } of held) {
      const row = this.#rows[microBatch];
      // It may have named one twice.
      if (row.cells[stage] === undefined) this.#emptyCells--;
      row.cells[stage] = peer;
      row.corpus = corpus;
      if (isLast) row.loss = losses.get(microBatch);
    }
    return true;
  }

  /** Who has counted a micro-batch, and from which data; `undefined` if there is no such micro-batch. */
  cell(
    microBatch: number,
    stage: number,
  ): { readonly owner: PeerId | undefined; readonly corpus: string | undefined } | undefined {
    const row = this.#rows.at(microBatch);
    return row && { owner: row.cells[stage], corpus: row.corpus };
  }

  /** Micro-batches that a host has counted at its stage. */
  countedBy(peer: PeerId, stage: number): number[] {
    return this.#rows.flatMap((row, microBatch) => row.cells[stage] === peer ? [microBatch] : []);
  }

  /** Nobody has counted it at this stage any more. */
  empty(microBatch: number, stage: number): void {
    this.#empty(this.#rows[microBatch], stage);
  }

  /** A host has counted nothing any more. */
  emptyAllOf({ peer, stage }: { readonly peer: PeerId; readonly stage: number }): void {
    for (const row of this.#rows) if (row.cells[stage] === peer) this.#empty(row, stage);
  }

  // --- what is missing ----------------------------------------------------------------------------

  /** What is to be sent. */
  gaps(): Gap[] {
    return this.#rows.flatMap(({ cells, corpus, walking }, microBatch) => {
      const mask = cells.flatMap((cell, stage) => cell === undefined ? [stage] : []);
      return walking || mask.length === 0 ? [] : [{ microBatch, mask, corpus }];
    });
  }

  /** A micro-batch is sent, drawn from this data. @returns which time that is, from 1. */
  send({ microBatch, corpus }: Pair): number {
    const row = this.#rows[microBatch];
    row.corpus = corpus;
    row.walking = true;
    return ++row.attempts;
  }

  /** A walk has ended. @returns whether it was the latest of a micro-batch that is not counted everywhere. */
  endWalk(microBatch: number, attempt: number): boolean {
    const row = this.#rows.at(microBatch);
    if (row?.attempts !== attempt) return false;
    row.walking = false;
    return row.cells.includes(undefined);
  }

  /** Whether nothing was sent since the walk of this attempt ended. */
  rests(microBatch: number, attempt: number): boolean {
    const row = this.#rows.at(microBatch);
    return row?.attempts === attempt && !row.walking;
  }

  // --- whose data ---------------------------------------------------------------------------------

  /** Whether something can't be sent again: nobody who is there has the data that it is from. */
  hasOrphan(corpora: ReadonlySet<string>): boolean {
    return this.#orphan(corpora) !== undefined;
  }

  /**
   * Of an orphan no stage may count anything: who has counted it has to forget all that it holds, and
   * that may make orphans of others. Afterwards anybody's data may take their places.
   *
   * @returns who has to forget.
   */
  dropOrphans(corpora: ReadonlySet<string>): Set<PeerId> {
    const dropped = new Set<PeerId>();
    for (let orphan = this.#orphan(corpora); orphan !== undefined; orphan = this.#orphan(corpora)) {
      orphan.corpus = undefined;
      for (const [stage, peer] of orphan.cells.entries()) {
        if (peer === undefined) continue;
        dropped.add(peer);
        this.emptyAllOf({ peer, stage });
      }
    }
    return dropped;
  }

  #orphan(corpora: ReadonlySet<string>): Row | undefined {
    return this.#rows.find(({ corpus, cells }) =>
      corpus !== undefined && !corpora.has(corpus) && cells.includes(undefined)
    );
  }

  // --- what came of it ----------------------------------------------------------------------------

  /** Of a full table. */
  loss(): Loss {
    return {
      sum: this.#rows.reduce((sum, row) => sum + row.loss!.sum, 0),
      tokens: this.#rows.reduce((sum, row) => sum + row.loss!.tokens, 0),
    };
  }

  /** Micro-batches that each host has counted. */
  served(): Record<PeerId, number> {
    const served: Record<PeerId, number> = {};
    for (const row of this.#rows) {
      for (const peer of row.cells) if (peer !== undefined) served[peer] = (served[peer] ?? 0) + 1;
    }
    return served;
  }

  /** Micro-batches that were sent again. */
  get replays(): number {
    return this.#rows.reduce((sum, row) => sum + Math.max(0, row.attempts - 1), 0);
  }

  #isLast(stage: number): boolean {
    return stage === this.#stages - 1;
  }

  #empty(row: Row, stage: number): void {
    row.cells[stage] = undefined;
    this.#emptyCells++;
    if (this.#isLast(stage)) row.loss = undefined;
  }
}
