/**
 * What most trials begin with: people with keys and tokens, a model, hosts that
 * hold its stages, an epoch that is final, vouchers. It asserts nothing.
 */

import { keccak256, toUtf8Bytes } from "ethers";
import { escrowDomain, registryDomain } from "../deployment.ts";
import { type RewardLeaf, type RewardTree, rewardTree } from "../reward_tree.ts";
import { type DigestSigner, digestSigner, longSignature } from "../signing.ts";
import { bytesOf, TypedData, type Voucher } from "../typed_data.ts";
import { type Done, type Placed, type Stand, TERMS } from "./stand.ts";

/** What everybody is given. */
export const WEALTH = 1_000_000n;
/** What a place as host binds. */
export const MIN_STAKE = 500n;
/** Later than anything that a trial does. */
export const NEVER_SECONDS = 4_000_000_000;

/** Somebody with a key, tokens and gas. */
export async function person(stand: Stand, name: string): Promise<DigestSigner> {
  const it = digestSigner(bytesOf(keccak256(toUtf8Bytes(name))));
  await stand.giveGas(it.address);
  await stand.enrich(it.address, WEALTH);
  return it;
}

/** A word that stands for something outside of the chain. */
export function word(name: string): string {
  return keccak256(toUtf8Bytes(name));
}

/** How a model's stages are described; weights in 1/10,000. */
export interface StageWish {
  readonly weightBps: number;
  readonly maxReplicas: number;
  readonly minStake: bigint;
}

/** Stages that are alike. */
export function evenStages(count: number, maxReplicas = 4): StageWish[] {
  const weightBps = 10_000 / count;
  return Array.from({ length: count }, () => ({ weightBps, maxReplicas, minStake: MIN_STAKE }));
}

/** A model of an owner; returns its id. */
export async function createModel(
  stand: Stand,
  owner: string,
  stages: readonly StageWish[] = evenStages(2),
  name = "a model",
): Promise<string> {
  await stand.send(owner, "registry", "createModel", word(name), word("graph"), stages);
  return await modelOf(stand, owner, name);
}

/** What a model is called. */
export async function modelOf(stand: Stand, owner: string, name = "a model"): Promise<string> {
  return (await stand.call("registry", "modelOf", owner, word(name)))[0] as string;
}

/** A signer's consent, as the registry takes it. */
export function consent(
  { deployment }: Stand,
  signer: DigestSigner,
  owner: string,
  model: string,
  peerIdHash: string = word("peer"),
): string {
  const digest = new TypedData(registryDomain(deployment)).consent({ owner, model, peerIdHash });
  return longSignature(signer.sign(digest));
}

/** Asks to join, waits, and is assigned; returns the stage. The owner must have staked. */
export async function join(
  stand: Stand,
  owner: string,
  model: string,
  signer: DigestSigner,
): Promise<number> {
  const agreed = consent(stand, signer, owner, model);
  await stand.send(owner, "registry", "requestJoin", model, signer.address, word("peer"), agreed);
  await stand.mine(TERMS.drawDelayBlocks);
  await stand.send(owner, "registry", "assign", model, owner);
  return Number((await stand.call("registry", "hosts", model, owner)).stage);
}

/** Proposes an epoch and lets its window pass, so that it is final. */
export async function settleEpoch(
  stand: Stand,
  proposer: string,
  model: string,
  epoch: number,
  leaves: readonly Omit<RewardLeaf, "model">[],
): Promise<RewardTree> {
  const tree = rewardTree(stand.deployment, leaves.map((leaf) => ({ ...leaf, model })));
  await stand.send(proposer, "rewards", "propose", model, epoch, tree.root, tree.leavesHash);
  await stand.pass(TERMS.windowSeconds);
  await stand.send(proposer, "rewards", "finalize", model);
  return tree;
}

/** What a claim, and a credit, is proved with. */
export function proofArguments(
  tree: RewardTree,
  model: string,
  stage: number,
  account: string,
  epoch: number,
): unknown[] {
  const leaf = tree.proofOf(model, stage, account, epoch)!;
  return [model, stage, account, epoch, leaf.cumulativeRewardUnits, leaf.cumulativeCredit, leaf.proof];
}

/** A voucher as the escrow takes it. */
export function voucherArgument(
  { deployment }: Pick<Stand, "deployment">,
  payer: DigestSigner,
  voucher: Omit<Voucher, "payer">,
): Record<string, unknown> {
  const data = new TypedData(escrowDomain(deployment));
  const signature = payer.sign(data.voucher({ ...voucher, payer: payer.address }));
  return {
    payer: payer.address,
    expiry: voucher.expirySeconds,
    cumulative: voucher.cumulativeUnits,
    r: signature.slice(0, 66),
    vs: `0x${signature.slice(66)}`,
  };
}

/** The events of one kind among what a transaction logged. */
export function events(done: Done, { at, interface: face }: Placed, name: string): Record<string, unknown>[] {
  return done.logs
    .filter(({ address }) => address.toLowerCase() === at.toLowerCase())
    .map((log) => face.parseLog({ topics: [...log.topics], data: log.data })!)
    .filter((event) => event.name === name)
    .map((event) => event.args.toObject());
}
