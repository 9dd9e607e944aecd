/**
 * What a run tells whoever watches it: the trainer's side of every progress
 * bar, metrics file and plot. Plain values, safe to print as JSON.
 */

import type { PeerId } from "./core/actor.ts";

/** One thing that happened to a run. */
export type RunEvent =
  /** The run can't go on until somebody serves `stage`. Told once each time it starts. */
  | { readonly kind: "waiting"; readonly step: number; readonly stage: number; readonly reason: string }
  /** This trainer coordinates the run from now on. */
  | { readonly kind: "leading"; readonly term: number; readonly step: number }
  /** Another does; this one feeds its share. */
  | { readonly kind: "following"; readonly leader: PeerId; readonly step: number }
  | { readonly kind: "joined"; readonly peer: PeerId; readonly stage: number; readonly step: number }
  | {
    readonly kind: "lost";
    readonly peer: PeerId;
    readonly stage: number;
    readonly step: number;
    readonly reason: string;
  }
  /** A host was sent to another stage, where more is to be done. It is `joined` when it serves there. */
  | {
    readonly kind: "moved";
    readonly peer: PeerId;
    readonly from: number;
    readonly to: number;
    readonly step: number;
  }
  /** One optimizer step was applied by every stage. */
  | {
    readonly kind: "step";
    /** Steps applied so far, this one included. */
    readonly step: number;
    /** Mean cross-entropy over the step's tokens before the update, in nats. */
    readonly loss: number;
    readonly learningRate: number;
    /** Norm of the whole model's mean gradient, before clipping. */
    readonly gradientNorm: number;
    /** Tokens of this step that counted. */
    readonly tokens: number;
    readonly seconds: number;
    /** Micro-batches that had to be sent again in this step. */
    readonly replays: number;
    /** Live hosts of each stage. */
    readonly hosts: readonly number[];
    /** Micro-batches that each host accumulated in this step. */
    readonly served: Readonly<Record<PeerId, number>>;
    /** Hash of each stage's state after the step. */
    readonly stateHashes: readonly string[];
  }
  | { readonly kind: "validation"; readonly step: number; readonly loss: number; readonly tokens: number }
  /** All steps are done. */
  | { readonly kind: "done"; readonly step: number }
  /** The run can't be finished; `reason` is for a person. */
  | { readonly kind: "failed"; readonly step: number; readonly reason: string };
