/**
 * Where the contracts of a run lie, and how they are put there. Each knows the
 * others' addresses from the beginning and for ever: they follow from who deploys
 * them and in which order. It chooses no terms but those of local chains.
 */

import { getCreateAddress } from "ethers";
import { z } from "zod";
import { CONTRACTS, type Contracts } from "./artifacts.ts";
import { addressSchema, type Domain, unitsSchema } from "./typed_data.ts";

/** The contracts of a ledger, on their chain. */
export interface Deployment {
  /** Of the chain. */
  readonly chainId: number;
  /** The block of the first contract; nothing happened before. */
  readonly block: number;
  /** Address of what is staked and paid with. */
  readonly token: string;
  /** Address of the StakeVault. */
  readonly vault: string;
  /** Address of the StageRegistry. */
  readonly registry: string;
  /** Address of the TrainingRewards. */
  readonly rewards: string;
  /** Address of the ShardRevenue. */
  readonly revenue: string;
  /** Address of the InferenceEscrow. */
  readonly escrow: string;
}

/** Shape and bounds of a deployment that somebody else wrote down. */
export const deploymentSchema: z.ZodType<Deployment> = z.strictObject({
  chainId: z.int().min(1),
  block: z.int().min(0),
  token: addressSchema,
  vault: addressSchema,
  registry: addressSchema,
  rewards: addressSchema,
  revenue: addressSchema,
  escrow: addressSchema,
});

/** What is decided once and for ever when the contracts are deployed. */
export interface Terms {
  /** May pause what lets value in, and nothing else. */
  readonly guardian: string;
  /** Decides challenges, and may lock and slash stakes: a game of disputes, or people who are trusted. */
  readonly arbiter: string;
  /** Gets a fifth of every slash. */
  readonly insurance: string;
  /** Gets the auditors' share of every payment. */
  readonly auditors: string;
  readonly unbondingSeconds: number;
  readonly drawDelayBlocks: number;
  readonly epochSeconds: number;
  readonly bondUnits: bigint;
  /** How long a proposal can be challenged. */
  readonly windowSeconds: number;
  /** How long the arbiter has to decide. */
  readonly rulingSeconds: number;
  /** How long a refund is announced before it is taken: more than a host ever waits to redeem. */
  readonly thawSeconds: number;
}

const DURATION_SECONDS_MAX = 90 * 86_400;
const durationSchema = z.int().min(0).max(DURATION_SECONDS_MAX);

/** Shape and bounds of terms; nothing in them may be so long that an exit is none. */
export const termsSchema: z.ZodType<Terms> = z.strictObject({
  guardian: addressSchema,
  arbiter: addressSchema,
  insurance: addressSchema,
  auditors: addressSchema,
  unbondingSeconds: durationSchema,
  drawDelayBlocks: z.int().min(0).max(128),
  epochSeconds: durationSchema.min(1),
  bondUnits: unitsSchema,
  windowSeconds: durationSchema,
  rulingSeconds: durationSchema,
  thawSeconds: durationSchema,
});

/** The token's smallest unit is so much smaller than the token. */
export const UNITS_PER_TOKEN: bigint = 10n ** 18n;

/** Terms for a chain of one's own: one account has every office, and nothing takes long. */
export function localTerms(account: string): Terms {
  return {
    guardian: account,
    arbiter: account,
    insurance: account,
    auditors: account,
    unbondingSeconds: 10,
    drawDelayBlocks: 0,
    epochSeconds: 1,
    bondUnits: 10n * UNITS_PER_TOKEN,
    windowSeconds: 10,
    rulingSeconds: 60,
    thawSeconds: 10,
  };
}

/** An account that can put contracts on a chain. */
export interface Deployer {
  readonly address: string;
  readonly chainId: number;
  /** Of its next transaction. */
  nonce(): Promise<number>;
  /** Deploys, and returns the block once it has happened. */
  create(code: string): Promise<number>;
}

/**
 * Puts the contracts on a chain. The account must send nothing else meanwhile.
 *
 * @param token an ERC-20 that is there already; without it a test token is deployed.
 * @throws {z.ZodError} if the terms are out of bounds.
 */
export async function deploy(
  deployer: Deployer,
  terms: Terms,
  token?: string,
  contracts: Contracts = CONTRACTS,
): Promise<Deployment> {
  const it = termsSchema.parse(terms);
  const first = await deployer.nonce();
  const order = [
    ...token === undefined ? ["token"] : [],
    "vault",
    "registry",
    "rewards",
    "revenue",
    "escrow",
  ];
  const address = (name: string) =>
    name === "token" && token !== undefined
      ? token
      : getCreateAddress({ from: deployer.address, nonce: first + order.indexOf(name) });
  const [tokenAt, vault, registry, rewards, revenue, escrow] = [
    "token",
    "vault",
    "registry",
    "rewards",
    "revenue",
    "escrow",
  ].map(address);
  const create = ({ bytecode, interface: face }: Contracts[keyof Contracts], values: readonly unknown[]) =>
    deployer.create(bytecode + face.encodeDeploy(values).slice(2));
  const blocks: number[] = [];
  if (token === undefined) blocks.push(await create(contracts.TestToken, []));
  blocks.push(
    await create(contracts.StakeVault, [
      tokenAt,
      it.guardian,
      it.insurance,
      it.unbondingSeconds,
      [registry, rewards, it.arbiter],
    ]),
  );
  await create(contracts.StageRegistry, [vault, it.guardian, it.drawDelayBlocks, it.epochSeconds]);
  await create(contracts.TrainingRewards, [
    tokenAt,
    it.guardian,
    vault,
    registry,
    it.arbiter,
    it.bondUnits,
    it.windowSeconds,
    it.rulingSeconds,
  ]);
  await create(contracts.ShardRevenue, [tokenAt, escrow, rewards]);
  await create(contracts.InferenceEscrow, [tokenAt, it.guardian, revenue, it.auditors, it.thawSeconds]);
  const { chainId } = deployer;
  return { chainId, block: blocks[0], token: tokenAt, vault, registry, rewards, revenue, escrow };
}

/** What vouchers, path vouchers and receipts are signed for. */
export function escrowDomain({ chainId, escrow }: Deployment): Domain {
  return { name: "Murmuration InferenceEscrow", version: "1", chainId, contract: escrow };
}

/** What signers consent for. */
export function registryDomain({ chainId, registry }: Deployment): Domain {
  return { name: "Murmuration StageRegistry", version: "1", chainId, contract: registry };
}
