/**
 * What goes wrong between the peers of a simulated world at a moment: asked for
 * each frame, it answers from the plan of faults. It models connections that
 * carry everything in order, late, or break: a lost packet is a delay, and a
 * network that is cut for too long a broken connection that both ends hear of.
 */

import type { PeerId } from "../actors/core/actor.ts";
import type { Clock } from "../actors/core/clock.ts";
import type { Entropy } from "../actors/core/entropy.ts";
import type { MemoryFault } from "../actors/wire/memory_wire.ts";
import { type Fault, type FaultOf, lasts } from "./faults.ts";

/** A connection over which nothing has come through for so long is given up. */
const CONNECTION_TIMEOUT_MS = 15_000;
/** A lost packet is sent again after this, then after twice as long, and so on. */
const RETRANSMISSION_MS = 200;
/** Packets of one frame that are lost in a row. */
const RETRANSMISSIONS_MAX = 5;

type Weathers = FaultOf<"partition" | "clog" | "loss" | "duplication" | "jitter">;

/** The weather of one world. */
export class Weather {
  readonly #clock: Clock;
  readonly #entropy: Entropy;
  readonly #planned: Weathers[];
  /** Those that have begun and not ended, as of `#untilMs`. */
  #current: Weathers[] = [];
  #untilMs = 0;
  readonly #groups = new Map<Weathers, ReadonlySet<PeerId>>();

  constructor(clock: Clock, entropy: Entropy, plan: readonly Fault[]) {
    this.#clock = clock;
    this.#entropy = entropy;
    this.#planned = plan.filter((fault): fault is Weathers =>
      fault.kind === "partition" || fault.kind === "clog" || fault.kind === "loss" ||
      fault.kind === "duplication" || fault.kind === "jitter"
    );
    for (const fault of this.#planned) {
      if (fault.kind === "partition") this.#groups.set(fault, new Set(fault.peers));
    }
  }

  /** What happens to a frame that is sent now. */
  fault(from: PeerId, to: PeerId): MemoryFault | undefined {
    let delayMs = 0;
    let copies = 1;
    for (const fault of this.#now()) {
      switch (fault.kind) {
        case "partition":
        case "clog": {
          if (!this.#parts(fault, from, to)) break;
          const leftMs = fault.atMs + fault.forMs - this.#clock.nowMs();
          if (leftMs > CONNECTION_TIMEOUT_MS) return { kind: "break", afterMs: CONNECTION_TIMEOUT_MS };
          delayMs = Math.max(delayMs, leftMs + RETRANSMISSION_MS * this.#entropy.uniform());
          break;
        }
        case "loss":
          if (this.#entropy.uniform() < fault.breakShare) return { kind: "break" };
          delayMs += this.#retransmissionMs(fault.share);
          break;
        case "duplication":
          if (this.#entropy.uniform() < fault.share) copies = 2;
          break;
        case "jitter":
          delayMs += fault.jitterMs * this.#entropy.uniform();
          break;
        default:
          fault satisfies never;
      }
    }
    if (delayMs > 0) return { kind: "delay", delayMs };
    return copies > 1 ? { kind: "duplicate" } : undefined;
  }

  #now(): readonly Weathers[] {
    const nowMs = this.#clock.nowMs();
    if (nowMs < this.#untilMs) return this.#current;
    this.#current = this.#planned.filter((fault) => lasts(fault, nowMs));
    const changes = this.#planned.flatMap(({ atMs, forMs }) => [atMs, atMs + forMs]);
    this.#untilMs = Math.min(Infinity, ...changes.filter((atMs) => atMs > nowMs));
    return this.#current;
  }

  #parts(fault: FaultOf<"partition" | "clog">, from: PeerId, to: PeerId): boolean {
    if (fault.kind === "clog") return fault.from === from && fault.to === to;
    const group = this.#groups.get(fault)!;
    const leaves = group.has(from) && !group.has(to);
    return leaves || (!fault.oneWay && group.has(to) && !group.has(from));
  }

  #retransmissionMs(share: number): number {
    let delayMs = 0;
    for (let lost = 0; lost < RETRANSMISSIONS_MAX && this.#entropy.uniform() < share; lost++) {
      delayMs += RETRANSMISSION_MS * 2 ** lost;
    }
    return delayMs;
  }
}
