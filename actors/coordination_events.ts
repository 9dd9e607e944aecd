/**
 * What goes into the step protocol (`coordination.ts`) and what comes out of it:
 * what is settled for a run, what may happen, and what is to be done. It is types
 * alone.
 */

import type { PeerId } from "./core/actor.ts";
import type { MessageOf, RemoteMessage, Update, Walk } from "./messages.ts";
import type { BalanceRules } from "../routing/mod.ts";

/** What does not change in a run. */
export interface CoordinationConfig {
  readonly stages: number;
  readonly microBatches: number;
  /** Steps after which the run is done. */
  readonly steps: number;
  /** Hosts that each stage needs before the run starts. */
  readonly floor: number;
  /** When it is worth it to send a host to another stage. */
  readonly balance: Pick<BalanceRules, "work" | "ceiling" | "hysteresis">;
  /** Whether a run that has taken steps already may go on. */
  readonly resume: boolean;
  /** This coordinator: hosts promise themselves to it. */
  readonly self: PeerId;
  /** Names the data of its own trainer. */
  readonly corpus: string;
  /** Whether the run may go on without a quorum of the hosts that took the last step. */
  readonly withoutQuorum: boolean;
  /** Factor of the gradient sum, from the whole model's square sum and the step's tokens. */
  readonly updateScale: (squareSum: number, tokens: number) => number;
  /** Learning rate of the step that is taken when `step` steps have been taken. */
  readonly learningRate: (step: number) => number;
}

/** What a host said of itself. */
export type Hello = Omit<MessageOf<"hello">, "kind">;

/** A trainer that feeds walks. */
export interface Feeder {
  readonly peer: PeerId;
  /** Names its data: whoever has the same can draw the same micro-batches. */
  readonly corpus: string;
}

/** What happens to a coordination. */
export type CoordinationEvent =
  | { readonly kind: "hello"; readonly peer: PeerId; readonly hello: Hello }
  | { readonly kind: "lost"; readonly peer: PeerId; readonly reason: string }
  | { readonly kind: "gathered" }
  /** These feed walks now, beside this coordinator's own trainer. */
  | { readonly kind: "feeders"; readonly others: readonly Feeder[] }
  /** A host has promised itself to somebody else under this term. */
  | { readonly kind: "outranked"; readonly peer: PeerId; readonly term: number }
  /** Some time has passed. */
  | { readonly kind: "tick" }
  | { readonly kind: "accumulated"; readonly peer: PeerId; readonly report: MessageOf<"accumulated"> }
  | { readonly kind: "walkOver"; readonly walk: Walk; readonly reason: string | null }
  | { readonly kind: "graceOver"; readonly microBatch: number; readonly attempt: number }
  | { readonly kind: "prepared"; readonly peer: PeerId; readonly report: MessageOf<"prepared"> }
  | { readonly kind: "fenced"; readonly peer: PeerId; readonly report: MessageOf<"fenced"> }
  | { readonly kind: "reduced"; readonly peer: PeerId; readonly report: MessageOf<"reduced"> }
  | { readonly kind: "reduceFailed"; readonly peer: PeerId; readonly report: MessageOf<"reduceFailed"> }
  | { readonly kind: "applied"; readonly peer: PeerId; readonly report: MessageOf<"applied"> }
  | { readonly kind: "phaseTimeout"; readonly phase: Phase; readonly step: number; readonly round: number }
  | { readonly kind: "proceed"; readonly step: number }
  /** It is time to look at the balance of stages. */
  | { readonly kind: "rebalance" }
  /** Nobody came for a while who holds the present state of a stage that has lost all its hosts. */
  | { readonly kind: "revivalDue"; readonly term: number; readonly step: number };

/** What is to be done. */
export type Command =
  | { readonly kind: "send"; readonly peer: PeerId; readonly message: RemoteMessage }
  | {
    readonly kind: "assign";
    readonly walk: Walk;
    readonly mask: readonly number[];
    readonly feeder: Feeder;
  }
  /** Raise `gathered` once it has been quiet for a while. */
  | { readonly kind: "awaitQuiet" }
  /** Raise `graceOver` after a short while. */
  | { readonly kind: "awaitGrace"; readonly microBatch: number; readonly attempt: number }
  /** Raise `phaseTimeout` unless the phase is over by then. */
  | { readonly kind: "awaitPhase"; readonly phase: Phase; readonly step: number; readonly round: number }
  /** Raise `revivalDue` after a while. */
  | { readonly kind: "awaitRevival"; readonly term: number; readonly step: number }
  | { readonly kind: "waiting"; readonly stage: number; readonly reason: string }
  | { readonly kind: "joined"; readonly peer: PeerId; readonly stage: number }
  | { readonly kind: "moved"; readonly peer: PeerId; readonly from: number; readonly to: number }
  | { readonly kind: "left"; readonly peer: PeerId; readonly stage: number; readonly reason: string }
  /** The run stands at `step` and the next step may start when somebody says `proceed`. */
  | { readonly kind: "between"; readonly step: number; readonly applied: AppliedStep | null }
  /** The run was found at `step`: who coordinated this one may not have lived to tell. */
  | { readonly kind: "found"; readonly step: number; readonly update: Update }
  | { readonly kind: "done"; readonly step: number }
  | { readonly kind: "failed"; readonly reason: string };

/** What is known of a step when every stage has taken it. */
export interface AppliedStep {
  readonly update: Update;
  readonly replays: number;
  readonly served: Readonly<Record<PeerId, number>>;
  readonly stateHashes: readonly string[];
}

/** Where in the step the run is. */
export type Phase =
  | "gathering"
  | "between"
  | "holding"
  | "filling"
  | "fencing"
  | "preparing"
  | "reducing"
  | "applying"
  | "done";
