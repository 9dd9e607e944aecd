/**
 * Answers neighbours who ask whether their sheets of work say what has passed: at
 * once if it does, else a moment later with as much of it as was seen by then. What
 * a sheet looks like and how it is signed is not its business.
 */

import type { Context, PeerId } from "./core/actor.ts";
import type { Timer } from "./core/clock.ts";
import { REPLICAS_MAX, VOUCH_WAIT_MS } from "./limits.ts";
import type { Message, MessageOf } from "./messages.ts";
import type { Claim, WorkLog } from "./receipts.ts";

/** A neighbour's sheet, as far as it is looked at here. */
export interface ClaimedSheet {
  readonly stage: number;
  readonly step: number;
  readonly items: readonly (Claim & { readonly microBatch: number })[];
}

/** What knows sheets. */
export interface SheetCodec<Sheet extends ClaimedSheet> {
  /** What a neighbour sent, if it is a sheet of its own. */
  read(from: PeerId, text: string): Sheet | undefined;
  /** A signed word for some of its micro-batches. */
  acknowledge(sheet: Sheet, microBatches: readonly number[]): string;
}

/** Names the timer of a {@link Vouching}. */
export const VOUCH_TIMER = "vouch";

/** One peer's answers. */
export class Vouching<Sheet extends ClaimedSheet> {
  readonly #context: Context<Message>;
  readonly #log: WorkLog;
  readonly #codec: SheetCodec<Sheet>;
  /** Asked too early. */
  readonly #waiting = new Map<
    string,
    { readonly from: PeerId; readonly part: number; readonly sheet: Sheet; readonly timer: Timer }
  >();

  constructor(context: Context<Message>, log: WorkLog, codec: SheetCodec<Sheet>) {
    this.#context = context;
    this.#log = log;
    this.#codec = codec;
  }

  /** A neighbour asks. */
  onVouch(from: PeerId, { part, sheet: text }: MessageOf<"vouch">): void {
    const sheet = this.#codec.read(from, text);
    if (sheet === undefined) return this.#context.trace("sheet ignored", { from });
    if (this.#confirmed(from, sheet).length === sheet.items.length) return this.#answer(from, part, sheet);
    const key = `${from} ${sheet.step} ${part}`;
    if (this.#waiting.has(key) || this.#waiting.size >= REPLICAS_MAX) return;
    const timer = this.#context.after(VOUCH_WAIT_MS, { kind: "timer", name: VOUCH_TIMER, key });
    this.#waiting.set(key, { from, part, sheet, timer });
  }

  /** The time of one that was asked too early is over. */
  onTimer(key: string): void {
    const asked = this.#waiting.get(key);
    this.#waiting.delete(key);
    if (asked !== undefined) this.#answer(asked.from, asked.part, asked.sheet);
  }

  #confirmed(from: PeerId, sheet: Sheet): number[] {
    return sheet.items.filter((item) => this.#log.confirms(from, sheet.stage, item)).map((it) =>
      it.microBatch
    );
  }

  #answer(from: PeerId, part: number, sheet: Sheet): void {
    const confirmed = this.#confirmed(from, sheet);
    const acknowledgement = confirmed.length === 0 ? null : this.#codec.acknowledge(sheet, confirmed);
    const { step } = sheet;
    this.#context.tell({ peer: from, actor: "settler" }, { kind: "vouched", step, part, acknowledgement });
  }
}
