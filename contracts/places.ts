/**
 * Who holds which stage of a model, as far as is known here: what the registry has
 * logged, read again and again, and still there when the chain is not. What may yet
 * be reorganised is forgotten and read anew each time. It asks nobody for anything
 * but that, and decides nothing.
 */

import { z } from "zod";
import type { LedgerClock } from "./clock.ts";
import type { Journal } from "./journal.ts";
import { type Ledger, LedgerError, type Place, type PlaceEvent } from "./ledger.ts";
import { addressSchema, stageSchema } from "./typed_data.ts";

/** What a view of places is made of. */
export interface PlacesOptions {
  readonly ledger: Pick<Ledger, "placesSince">;
  readonly model: string;
  readonly clock: LedgerClock;
  /** Where what was known outlives the process. Default: nowhere. */
  readonly journal?: Journal;
  /** The chain is asked no more often. Default: 2 s. */
  readonly refreshMs?: number;
  /** Told when the chain does not answer. */
  readonly onTrouble?: (reason: string) => void;
}

/** Places that are or were held, all together: some 200 bytes each. */
export const PLACES_MAX = 65_536;

/** Blocks that may be reorganised. */
const MARGIN_BLOCKS = 64;
const REFRESH_MS = 2_000;

const bookSchema = z.strictObject({
  block: z.int().min(0),
  held: z.array(z.tuple([addressSchema, addressSchema, stageSchema])).max(PLACES_MAX),
  ever: z.array(z.tuple([addressSchema, addressSchema, stageSchema])).max(PLACES_MAX),
});

/** What events add up to. */
class Register {
  /** By owner. */
  readonly #held = new Map<string, { readonly signer: string; readonly stage: number }>();
  readonly #ownerOf = new Map<string, string>();
  /** Owners by signer and stage, whoever held it last. */
  readonly #ever = new Map<string, string>();

  copy(): Register {
    const copy = new Register();
    for (const [owner, { signer, stage }] of this.#held) copy.#hold(owner, signer, stage);
    for (const [name, owner] of this.#ever) copy.#ever.set(name, owner);
    return copy;
  }

  add({ kind, owner, signer, stage }: PlaceEvent): void {
    const before = this.#held.get(owner);
    if (before !== undefined) this.#ownerOf.delete(before.signer);
    if (kind === "left") this.#held.delete(owner);
    else if (signer !== undefined && (stage ?? before?.stage) !== undefined) {
      this.#hold(owner, signer, (stage ?? before?.stage)!);
    }
  }

  #hold(owner: string, signer: string, stage: number): void {
    this.#held.set(owner, { signer, stage });
    this.#ownerOf.set(signer, owner);
    const name = `${signer} ${stage}`;
    // The latest last: the oldest goes first.
    this.#ever.delete(name);
    this.#ever.set(name, owner);
    for (const oldest of this.#ever.keys()) {
      if (this.#ever.size <= PLACES_MAX) break;
      this.#ever.delete(oldest);
    }
  }

  ownerNow(signer: string, stage: number): string | undefined {
    const owner = this.#ownerOf.get(signer);
    return owner !== undefined && this.#held.get(owner)?.stage === stage ? owner : undefined;
  }

  ownerEver(signer: string, stage: number): string | undefined {
    return this.#ever.get(`${signer} ${stage}`);
  }

  write(): Pick<z.infer<typeof bookSchema>, "held" | "ever"> {
    return {
      held: [...this.#held].map(([owner, { signer, stage }]) => [owner, signer, stage]),
      ever: [...this.#ever].map(([name, owner]) => {
        const [signer, stage] = name.split(" ");
        return [owner, signer, Number(stage)];
      }),
    };
  }

  static read({ held, ever }: z.infer<typeof bookSchema>): Register {
    const register = new Register();
    for (const [owner, signer, stage] of ever) register.#ever.set(`${signer} ${stage}`, owner);
    for (const [owner, signer, stage] of held) register.#hold(owner, signer, stage);
    return register;
  }
}

/** A view of a model's places. */
export class Places {
  readonly #options: PlacesOptions;
  /** Up to here nothing changes any more. */
  #settledBlock = -1;
  #settled = new Register();
  #now = new Register();
  #refreshing: Promise<void> | undefined;
  #refreshedMs = -Infinity;

  private constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /**
   * Opens the view, with what was known.
   *
   * @throws {LedgerError} if nothing was, and the chain does not answer.
   */
  static async open(options: PlacesOptions): Promise<Places> {
    const places = new Places(options);
    const text = await options.journal?.load();
    if (text !== undefined) {
      const book = bookSchema.parse(JSON.parse(text));
      places.#settledBlock = book.block;
      places.#settled = Register.read(book);
      places.#now = places.#settled.copy();
      await places.refresh();
    } else await places.#read();
    return places;
  }

  /** Whose signer this is at this stage now. A signer that is not known yet is looked for. */
  async ownerNow(signer: string, stage: number): Promise<string | undefined> {
    const known = this.#now.ownerNow(signer, stage);
    const { clock, refreshMs = REFRESH_MS } = this.#options;
    if (clock.epochMs() - this.#refreshedMs < refreshMs) return known;
    const refreshed = this.refresh();
    if (known !== undefined) return known;
    await refreshed;
    return this.#now.ownerNow(signer, stage);
  }

  /** Whose signer this was at this stage when it last was anybody's. */
  ownerEver(signer: string, stage: number): string | undefined {
    return this.#now.ownerEver(signer, stage);
  }

  /** The places that a signer holds now, if any, as the ledger says it. */
  placeNow(signer: string, stage: number): Place | undefined {
    const owner = this.#now.ownerNow(signer, stage);
    return owner === undefined ? undefined : { owner, model: this.#options.model, stage };
  }

  /** Asks the chain. What is known stays if it does not answer. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#read()
      .catch((error) => {
        if (!(error instanceof LedgerError)) throw error;
        this.#options.onTrouble?.(error.message);
      })
      .finally(() => this.#refreshing = undefined);
    return this.#refreshing;
  }

  async #read(): Promise<void> {
    const { ledger, model, clock, journal } = this.#options;
    this.#refreshedMs = clock.epochMs();
    const { events, head } = await ledger.placesSince(model, this.#settledBlock + 1);
    const settledBlock = Math.max(this.#settledBlock, head - MARGIN_BLOCKS);
    const settled = events.filter(({ block }) => block <= settledBlock);
    for (const event of settled) this.#settled.add(event);
    this.#settledBlock = settledBlock;
    this.#now = this.#settled.copy();
    for (const event of events) if (event.block > settledBlock) this.#now.add(event);
    if (journal === undefined || settled.length === 0) return;
    await journal.save(JSON.stringify({ block: settledBlock, ...this.#settled.write() }));
  }
}
