/**
 * The ledger of a run without one: everybody is believed, nobody is paid, and who
 * wants to move money is told that there is none.
 */

import { type Ledger, LedgerError } from "./ledger.ts";

function none(what: string): () => Promise<never> {
  return () => Promise.reject(new LedgerError("none", `Cannot ${what}: this run has no ledger`));
}

const NOTHING = Promise.resolve();
const nothing = () => NOTHING;

/** `ledger: none`. */
export const NO_LEDGER: Ledger = {
  kind: "none",
  account: undefined,
  placeOf: (model, signer, stage) => Promise.resolve({ owner: signer, model, stage }),
  placesSince: () => Promise.resolve({ events: [], head: 0 }),
  register: none("register"),
  resign: nothing,
  stake: none("stake"),
  requestUnstake: none("unstake"),
  withdrawStake: nothing,
  stakeOf: () => Promise.resolve({ stakedUnits: 0n, lockedUnits: 0n, unbondingUnits: 0n, readySeconds: 0 }),
  proposeEpoch: none("propose an epoch"),
  challengeEpoch: none("challenge an epoch"),
  finalizeEpoch: none("finalize an epoch"),
  epochOf: () =>
    Promise.resolve({
      finalEpoch: 0,
      proposedRoot: undefined,
      challenged: false,
      finalSeconds: 0,
      nextSeconds: 0,
    }),
  emissionOf: () => Promise.resolve({ poolUnits: 0n, stageUnits: [] }),
  proposalOf: () => Promise.resolve(undefined),
  claimedOf: () => Promise.resolve(0n),
  claim: none("claim"),
  syncCredit: none("raise credit"),
  deposit: none("deposit"),
  depositReserve: none("deposit"),
  thaw: none("thaw"),
  refund: none("refund"),
  laneOf: () => Promise.resolve({ depositUnits: 0n, redeemedUnits: 0n, thawingUnits: 0n, readySeconds: 0 }),
  redeemMany: none("redeem"),
  withdrawServed: nothing,
  withdrawRoyalty: nothing,
  earnings: () => Promise.resolve({ rows: [], servedUnits: 0n, royalties: [], withdrawnUnits: 0n }),
};
