/**
 * When a host serves readers although no trainer leads it, and which stage it takes
 * then if nobody has said so: the one that fewest hosts announce. Newcomers look for
 * different times, so that each sees what those before it took; whoever shares a
 * stage looks again now and then whether another has nobody. It believes what hosts
 * announce, and opens nothing itself.
 */

import type { Context, PeerId } from "./core/actor.ts";
import { STANDALONE_LOOK_MS, STANDALONE_MS } from "./limits.ts";
import type { Message } from "./messages.ts";
import { type Announcement, stageService } from "../routing/mod.ts";

/** What standing alone asks of a host. */
export interface StandaloneOwner {
  /** Stages of the model. */
  readonly stages: number;
  /** The stage that is held; `undefined` before there is one. */
  readonly stage: () => number | undefined;
  /** Whether the host may choose: its owner has not. */
  readonly movable: boolean;
  /** Wants to hear who offers a service, or not any more. */
  readonly watch: (service: string, wanted: boolean) => void;
  /** Holds this stage from now on, in the place of any other. */
  readonly take: (stage: number) => void;
}

/** A look at all stages. */
interface Look {
  /** Chooses then, if all stages were seen. */
  readonly untilMs: number;
  readonly hosts: Map<string, readonly PeerId[]>;
}

/** Whether a host stands alone, and where. */
export class Standalone {
  readonly #context: Context<Message>;
  readonly #owner: StandaloneOwner;
  /** A trainer is announced. */
  #isLed = false;
  #heardMs: number;
  #look: Look | undefined;
  #nextLookMs = -Infinity;

  /** @param context of the host, that has just begun. */
  constructor(context: Context<Message>, owner: StandaloneOwner) {
    this.#context = context;
    this.#owner = owner;
    this.#heardMs = context.clock.nowMs();
  }

  /** Whether nobody leads, for long enough. */
  get isAlone(): boolean {
    return !this.#isLed && this.#context.clock.nowMs() - this.#heardMs >= STANDALONE_MS;
  }

  /** A coordinator has said something. */
  heard(): void {
    this.#heardMs = this.#context.clock.nowMs();
    this.#endLook();
  }

  /** Trainers were looked for. */
  foundTrainers(count: number): void {
    this.#isLed = count > 0;
    if (this.#isLed) this.heard();
  }

  /** Hosts of a stage were looked for. */
  foundHosts(service: string, announcements: readonly Announcement[]): void {
    this.#look?.hosts.set(service, announcements.map(({ peer }) => peer));
  }

  /** Now and then: looks, and chooses when it has seen enough. */
  tick(): void {
    const nowMs = this.#context.clock.nowMs();
    const { stages, movable } = this.#owner;
    if (!movable || !this.isAlone) return;
    if (this.#look === undefined) return nowMs < this.#nextLookMs ? undefined : this.#beginLook(nowMs);
    const { hosts, untilMs } = this.#look;
    if (nowMs < untilMs || hosts.size < stages) return;
    this.#endLook();
    this.#nextLookMs = nowMs + STANDALONE_LOOK_MS * (0.5 + this.#context.entropy.uniform());
    const chosen = this.#choose(
      Array.from({ length: stages }, (_, stage) => hosts.get(stageService(stage))!),
    );
    if (chosen !== undefined) this.#owner.take(chosen);
  }

  #beginLook(nowMs: number): void {
    this.#look = { untilMs: nowMs + STANDALONE_MS * this.#context.entropy.uniform(), hosts: new Map() };
    this.#watchAll(true);
  }

  #endLook(): void {
    if (this.#look === undefined) return;
    this.#look = undefined;
    this.#watchAll(false);
  }

  #watchAll(wanted: boolean): void {
    for (let stage = 0; stage < this.#owner.stages; stage++) this.#owner.watch(stageService(stage), wanted);
  }

  /** @param others hosts of each stage, this one not among them. */
  #choose(others: readonly (readonly PeerId[])[]): number | undefined {
    const held = this.#owner.stage();
    const fewest = Math.min(...others.map(({ length }) => length));
    if (held !== undefined) {
      const stays = others[held].every((peer) => this.#context.peer < peer);
      // Of those that share a stage one always stays, and all agree which.
      if (fewest > 0 || others[held].length === 0 || stays) return undefined;
    }
    const neediest = others.flatMap(({ length }, stage) => length === fewest ? [stage] : []);
    return neediest[this.#context.entropy.integer(neediest.length)];
  }
}
