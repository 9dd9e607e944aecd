/**
 * What the rest of the house sees of stake, rewards and revenue. It knows nothing
 * of chains, gas or blocks; `openLedger` makes one of a chain, `NO_LEDGER` is the
 * one of runs without money.
 *
 * Amounts are of the token's smallest unit, addresses and words hex.
 */

import type { RewardProof, RewardTree } from "./reward_tree.ts";
import type { DigestSigner } from "./signing.ts";
import type { Voucher } from "./typed_data.ts";

/** Why something did not happen. */
export type LedgerTrouble =
  /** The chain does not answer; what was sent is remembered, and may still happen. */
  | "down"
  /** The account can't pay for the transaction. */
  | "unfunded"
  /** The contract says no, and will again. */
  | "refused"
  /** Another chain than the one that was meant. */
  | "wrong chain"
  /** The run has no ledger. */
  | "none";

/** Something did not happen; the message says what and why. */
export class LedgerError extends Error {
  /** Tells it from a bug. */
  override name = "LedgerError";
  /** What kind of trouble it is. */
  readonly trouble: LedgerTrouble;
  /** The contract's own error, if it refused: `FreeStakeTooSmall`. */
  readonly reason: string | undefined;

  /** @param reason the contract's own error. */
  constructor(trouble: LedgerTrouble, message: string, reason?: string) {
    super(message);
    this.trouble = trouble;
    this.reason = reason;
  }
}

/** A stage of a model, and whom its holder signs for. */
export interface Place {
  /** The operator, who is paid. */
  readonly owner: string;
  /** What the model is called on the ledger, `0x…`. */
  readonly model: string;
  /** Of the model, from 0. */
  readonly stage: number;
}

/** Something that happened to a place. */
export interface PlaceEvent {
  /** In which it happened. */
  readonly block: number;
  /** `rotated` changes the signer of a place that is held. */
  readonly kind: "assigned" | "rotated" | "left";
  /** The account that staked for it. */
  readonly owner: string;
  /** Missing where somebody leaves. */
  readonly signer?: string;
  /** Missing where the signer changes. */
  readonly stage?: number;
}

/** An operator's stake. */
export interface Stake {
  /** What is staked, free or bound. */
  readonly stakedUnits: bigint;
  /** What of it is bound. */
  readonly lockedUnits: bigint;
  /** What is on its way out. */
  readonly unbondingUnits: bigint;
  /** When what is unbonding may be withdrawn. */
  readonly readySeconds: number;
}

/** Money that a payer has set aside for one stage of one host. */
export interface LaneName {
  /** Whose money it is. */
  readonly payer: string;
  /** Whose vouchers it pays. */
  readonly host: string;
  /** What the model is called on the ledger, `0x…`. */
  readonly model: string;
  /** Of the model, from 0. */
  readonly stage: number;
}

/** What a lane holds. */
export interface Lane {
  /** What was put into it, less what was taken back. */
  readonly depositUnits: bigint;
  /** Paid under its vouchers, since the beginning. */
  readonly redeemedUnits: bigint;
  /** What of the deposit its payer may take back from `readySeconds` on. */
  readonly thawingUnits: bigint;
  /** When what was announced may be taken back, since the Unix epoch. */
  readonly readySeconds: number;
}

/** A voucher with its payer's signature. */
export type SignedVoucher = Voucher & { readonly signature: string };

/** Where an epoch stands. */
export interface EpochState {
  /** The last final one; 0 before the first. */
  readonly finalEpoch: number;
  /** Root of the next one, if it was proposed. */
  readonly proposedRoot: string | undefined;
  /** Whether somebody says that it is wrong. */
  readonly challenged: boolean;
  /** From when it can be made final, if nobody challenges it. */
  readonly finalSeconds: number;
  /** From when the next one can be proposed. */
  readonly nextSeconds: number;
}

/** What training brings. */
export interface Emission {
  /** What is left to be emitted. */
  readonly poolUnits: bigint;
  /** What the next epoch brings each stage. */
  readonly stageUnits: readonly bigint[];
}

/** What one shard brought on one day. */
export interface EarningsRow {
  /** What the model is called on the ledger, `0x…`. */
  readonly model: string;
  /** Of the model, from 0. */
  readonly stage: number;
  /** `2026-11-21`, in UTC. */
  readonly day: string;
  /** Claimed for training. */
  readonly trainingUnits: bigint;
  /** Redeemed for serving. */
  readonly inferenceUnits: bigint;
  /** Withdrawn of what others' serving of the shard brought. */
  readonly royaltyUnits: bigint;
}

/** What an account has earned. */
export interface Earnings {
  /** One for each shard and day. */
  readonly rows: readonly EarningsRow[];
  /** Redeemed for serving, and not withdrawn yet. */
  readonly servedUnits: bigint;
  /** Shares in shards, not withdrawn yet. */
  readonly royalties: readonly { readonly model: string; readonly stage: number; readonly units: bigint }[];
  /** All that the account has taken out: claimed, or redeemed and withdrawn. */
  readonly withdrawnUnits: bigint;
}

/** Stake, rewards and revenue, for one account. Every call that changes something returns once that is final. */
export interface Ledger {
  /** Whether there is one. */
  readonly kind: "none" | "chain";
  /** Whose it is: stakes, pays and is paid. */
  readonly account: string | undefined;

  /** Whose signer this is; `undefined` if it is nobody's. Without a ledger everybody is what they say. */
  placeOf(model: string, signer: string, claimedStage: number): Promise<Place | undefined>;
  /** What happened to a model's places from a block on, in order, and the block up to which that is all. */
  placesSince(model: string, block: number): Promise<{
    readonly events: readonly PlaceEvent[];
    readonly head: number;
  }>;
  /** Takes a place, or says which one is held already. The stake has to be there. */
  register(model: string, signer: DigestSigner, peerIdHash: string): Promise<Place>;
  /** Gives the place back; its stake is free then. */
  resign(model: string): Promise<void>;

  /** Adds to the stake. */
  stake(units: bigint): Promise<void>;
  /** Sends free stake on its way out. */
  requestUnstake(units: bigint): Promise<void>;
  /** Takes out what has unbonded. */
  withdrawStake(): Promise<void>;
  /** What an account has staked. */
  stakeOf(account: string): Promise<Stake>;

  /** Proposes what an epoch says, under a bond. */
  proposeEpoch(model: string, epoch: number, tree: Pick<RewardTree, "root" | "leavesHash">): Promise<void>;
  /** Says under a bond that a proposed root is wrong. */
  challengeEpoch(model: string, root: string): Promise<void>;
  /** Makes an epoch final that nobody has challenged in time. */
  finalizeEpoch(model: string): Promise<void>;
  /** Where a model stands. */
  epochOf(model: string): Promise<EpochState>;
  /** What a model's work earns. */
  emissionOf(model: string): Promise<Emission>;
  /** What an epoch put on the chain when it was proposed last; `undefined` if it never was. */
  proposalOf(model: string, epoch: number): Promise<Pick<RewardTree, "root" | "leavesHash"> | undefined>;
  /** What was claimed of a reward. */
  claimedOf(model: string, stage: number, account: string): Promise<bigint>;
  /** Pays a reward to its account. Nothing happens if it was paid before. */
  claim(proof: RewardProof): Promise<void>;
  /** Raises an account's share in what its shard earns. Nothing happens if it is that high. */
  syncCredit(proof: RewardProof): Promise<void>;

  /** Opens a lane to a host, or adds to it. */
  deposit(host: string, model: string, stage: number, units: bigint): Promise<void>;
  /** Sets money aside for lanes that run empty. */
  depositReserve(units: bigint): Promise<void>;
  /** Announces that so much of a lane will be taken back; without a host, of the reserve. */
  thaw(host: string | undefined, model: string, stage: number, units: bigint): Promise<void>;
  /** Takes back what was announced. */
  refund(host: string | undefined, model: string, stage: number): Promise<void>;
  /** What is in a lane. */
  laneOf(name: LaneName): Promise<Lane>;
  /** Redeems vouchers of one host and stage, 32 or so at a time. Bad and spent ones are passed over. */
  redeemMany(vouchers: readonly SignedVoucher[]): Promise<void>;
  /** Pays what serving has earned to its owner. Default: to this account. */
  withdrawServed(account?: string): Promise<void>;
  /** Pays a share in what a shard has earned to its owner. Default: to this account. */
  withdrawRoyalty(model: string, stage: number, account?: string): Promise<void>;
  /** What an account has earned, was paid and can take. */
  earnings(account: string): Promise<Earnings>;
}
