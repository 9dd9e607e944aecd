/**
 * What a stage's gradient sum holds: each micro-batch at most once a step, and none whose round is sealed.
 * It touches no gradient; what it says is true as long as its owner counts whatever is added to the sum,
 * and clears both together.
 */

import type { MessageOf, Walk } from "../messages.ts";

/** Of a micro-batch, at the last stage. */
export interface Loss {
  readonly sum: number;
  readonly tokens: number;
}

/** A micro-batch that counts. */
interface Counted {
  /** The data that it is from. */
  readonly corpus: string;
  readonly loss: Loss | undefined;
}

/** The account of one stage's gradient sum. */
export class Tally {
  readonly #counted = new Map<number, Counted>();
  #isSpoilt = false;
  /** Walks of this round or an earlier one count no more. */
  #sealedRound = -1;

  /** How many count. */
  get size(): number {
    return this.#counted.size;
  }

  /** Those that count, in the order in which they were added. */
  get microBatches(): number[] {
    return [...this.#counted.keys()];
  }

  /** Walks of this round or an earlier one count no more. */
  get sealedRound(): number {
    return this.#sealedRound;
  }

  /** Whether the sum is as if nothing had ever been added. */
  get isBlank(): boolean {
    return this.#counted.size === 0 && !this.#isSpoilt;
  }

  /** Whether a walk may be added. */
  isOpenFor({ round, microBatch }: Walk): boolean {
    return round > this.#sealedRound && !this.#counted.has(microBatch);
  }

  /** A micro-batch was added. */
  count(microBatch: number, counted: Counted): void {
    this.#counted.set(microBatch, counted);
  }

  /** The sum may hold half of a micro-batch that does not count. */
  spoil(): void {
    this.#isSpoilt = true;
  }

  /** The data of which this micro-batch counts; `undefined` if it does not. */
  corpusOf(microBatch: number): string | undefined {
    return this.#counted.get(microBatch)?.corpus;
  }

  /** What counts, by its data, as a coordinator hears of it. */
  get held(): MessageOf<"prepared">["held"] {
    const byCorpus = Map.groupBy(this.#counted, ([, { corpus }]) => corpus);
    return [...byCorpus].map(([corpus, counted]) => ({
      corpus,
      microBatches: counted.map(([microBatch]) => microBatch).sort((a, b) => a - b),
    }));
  }

  /** Losses of what counts, as far as this stage knows them. */
  get losses(): NonNullable<MessageOf<"hello">["report"]>["losses"] {
    return [...this.#counted].sort(([a], [b]) => a - b)
      .flatMap(([microBatch, { loss }]) => loss === undefined ? [] : [{ microBatch, ...loss }]);
  }

  /** Nothing of this round, or of one before it, is added any more. */
  seal(round: number): void {
    this.#sealedRound = Math.max(this.#sealedRound, round);
  }

  /** Rounds are counted anew: whoever leads now has sealed none. What counts stays. */
  unseal(): void {
    this.#sealedRound = -1;
  }

  /** The sum is zero again; what is sealed stays so. */
  clear(): void {
    this.#counted.clear();
    this.#isSpoilt = false;
  }

  /** A step begins, with a sum of zero. */
  begin(): void {
    this.clear();
    this.unseal();
  }
}
