/**
 * What a host offers to whom, and says in its announcements: to train and to serve readers once a
 * coordinator has accepted it, and to serve readers while nobody leads. It takes nothing in itself, and
 * does not judge whether the host may offer it.
 */

import type { Context } from "../core/actor.ts";
import { LOAD_SECONDS_MAX } from "../limits.ts";
import type { Message } from "../messages.ts";
import { stageService } from "../../routing/mod.ts";
import type { Departing } from "./departing.ts";
import type { Holding } from "./holding.ts";

/** What an offer is made of. */
export interface OfferingParts {
  readonly holding: Holding;
  readonly departing: Departing;
  /** Seconds of walks' work that wait. */
  readonly waitingSeconds: () => number;
  /** Tokens of texts for which there is room. */
  readonly roomTokens: () => number;
}

/** The offers of one host. */
export class Offering {
  readonly #context: Context<Message>;
  readonly #parts: OfferingParts;
  #isServing = false;
  #isAlone = false;
  /** What was announced last is an offer to readers alone. */
  #isAnnouncedAlone = false;

  constructor(context: Context<Message>, parts: OfferingParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Whether a coordinator has accepted this host: it takes in walks. */
  get isServing(): boolean {
    return this.#isServing;
  }

  /** Whether it serves readers although nobody leads. */
  get isAlone(): boolean {
    return this.#isAlone;
  }

  /** Whether it takes in texts to continue. */
  get servesSessions(): boolean {
    return this.#parts.holding.stage?.sessions !== undefined && this.refusesSessions() === undefined;
  }

  /** Why no session is taken in; `undefined` if one is. */
  refusesSessions(): string | undefined {
    const { departing } = this.#parts;
    if (departing.isLeaving || departing.hasLeft) return "this host leaves";
    return this.#isServing || this.#isAlone ? undefined : "this host does not serve yet";
  }

  /** A coordinator has accepted the host. */
  serve(): void {
    this.#isServing = true;
    this.announce();
  }

  /** The coordinator that has accepted the host leads no more; what is announced stays until it is withdrawn. */
  suspend(): void {
    this.#isServing = false;
  }

  /** Whether readers are served although nobody leads. */
  standAlone(isAlone: boolean): void {
    const isOver = this.#isAnnouncedAlone && !isAlone && !this.#isServing;
    if (isOver && !this.#parts.holding.isOpening) this.withdraw();
    this.#isAlone = isAlone;
  }

  /** Offers nothing any more. */
  end(): void {
    this.#isServing = this.#isAlone = false;
    this.withdraw();
  }

  /** Says where the host stands and how busy it is, unless others take its walks or it has left. */
  announce(): void {
    const { holding, departing, waitingSeconds, roomTokens } = this.#parts;
    if (departing.isReplaced || departing.hasLeft) return;
    this.#isAnnouncedAlone = !this.#isServing;
    this.#context.tell({ actor: "scout" }, {
      kind: "announce",
      service: stageService(holding.stage!.index),
      step: holding.step,
      stateHash: holding.stateHash ?? null,
      load: Math.min(LOAD_SECONDS_MAX, waitingSeconds()),
      trains: this.#isServing,
      sessionRoom: roomTokens(),
    });
  }

  /** Says so before the host is there, so that other newcomers take another stage. */
  announceAhead(index: number): void {
    this.#isAnnouncedAlone = true;
    this.#context.tell({ actor: "scout" }, {
      kind: "announce",
      service: stageService(index),
      step: 0,
      stateHash: null,
      load: 0,
      trains: false,
      sessionRoom: 0,
    });
  }

  /** Nobody is to come any more. */
  withdraw(): void {
    this.#isAnnouncedAlone = false;
    this.#context.tell({ actor: "scout" }, { kind: "withdraw" });
  }
}
