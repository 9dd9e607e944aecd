/** What a host is made of, and what its owner sees of it. */

import type { PeerId } from "../core/actor.ts";
import type { Tensor } from "../messages.ts";
import type { TextBounds } from "../session_checks.ts";
import type { Signer, Verify } from "../../routing/mod.ts";
import type { Stage, StageLayout } from "../../stages/mod.ts";
import type { Departure } from "./departing.ts";
import type { PledgeStore } from "./following.ts";
import type { SnapshotStore } from "./snapshots.ts";

/** Takes money for tokens. */
export interface Tolls {
  /** A home sends a voucher. */
  accept(from: PeerId, voucher: Uint8Array): void;
  /** Why so many tokens are not computed for a home; `undefined` if they are, and then they are owed. */
  charge(home: PeerId, tokens: number): string | undefined;
}

/** What a host is made of. */
export interface HostOptions {
  /** Builds a stage in its initial state. */
  readonly openStage: (index: number) => Promise<Stage>;
  /** What a stage holds, to check the manifests of its states. */
  readonly layout: (index: number) => StageLayout;
  /** The stage that the owner asks for; without it the neediest. */
  readonly stage?: number;
  /** What the run's manifest says of texts, and the number of its stages. */
  readonly bounds: TextBounds;
  /** Hashes that the manifest gives for the states before the first step; without it they follow from the seed. */
  readonly firstStates?: readonly string[];
  /** Hash of the run's manifest, hex. */
  readonly run: string;
  /** Signs the states that this host computes. */
  readonly signer: Signer;
  /** Checks those of others. */
  readonly verify: Verify;
  /** Tokens of one micro-batch, for the router's expectations. */
  readonly tokensPerMicroBatch: number;
  readonly snapshots?: SnapshotStore;
  readonly pledges?: PledgeStore;
  /** Steps between two snapshots. */
  readonly snapshotEverySteps: number;
  /** Whether the state is given to those who say that they take it out of the run. Default: it is. */
  readonly mayExport?: boolean;
  /** Digest of what passes, SHA-256 in hex, where account is kept of work; without it nobody is told of any. */
  readonly rootOf?: (tensor: Tensor) => string;
  /** Who has paid for what; without it texts are continued for nothing. */
  readonly tolls?: Tolls;
  /** Told what a person wants to know: stage, state and count of work. */
  readonly onChange?: (status: HostStatus) => void;
  /** Told once, when this host was told to leave and is not needed any more. */
  readonly onLeft?: (departure: Departure) => void;
}

/** What a host's owner sees. */
export interface HostStatus {
  /** The stage that it holds, once it has one. */
  readonly stage: number | undefined;
  /** Optimizer steps that its state has taken. */
  readonly step: number;
  /** Whether it takes in walks. */
  readonly serving: boolean;
  /** Whether it takes in texts to continue, and how many it keeps. */
  readonly servesSessions: boolean;
  /** Texts of which it keeps something. */
  readonly sessions: number;
  /** Whether it was told to leave. */
  readonly leaving: boolean;
  /** Whose orders it follows, while one is known. */
  readonly coordinator: PeerId | undefined;
  /** Micro-batches accumulated since the start. */
  readonly accumulated: number;
  /** Why the host does not serve, or why its last work failed. */
  readonly trouble: string | undefined;
}
