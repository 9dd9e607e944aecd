/**
 * What an epoch says that everybody has earned since the beginning, as a Merkle
 * tree whose root goes onto the chain. It doesn't know how the figures came
 * about.
 */

import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { createHash } from "node:crypto";
import type { Deployment } from "./deployment.ts";

/** What one account has earned at one stage, since the beginning. */
export interface RewardLeaf {
  /** What the model is called on the ledger, `0x…`. */
  readonly model: string;
  /** Of the model, from 0. */
  readonly stage: number;
  /** Who is paid, `0x…`. */
  readonly account: string;
  /** All that its work at the stage has earned so far. */
  readonly cumulativeRewardUnits: bigint;
  /** Shares in what the shard earns in inference. */
  readonly cumulativeCredit: bigint;
}

/** A leaf and what proves it. */
export interface RewardProof extends RewardLeaf {
  /** In which it was proved. */
  readonly epoch: number;
  /** Hashes beside the way from the leaf to the root. */
  readonly proof: readonly string[];
}

/** An epoch's leaves, put in order. */
export interface RewardTree {
  /** What goes onto the chain, `0x…`. */
  readonly root: string;
  /** SHA-256 of {@link RewardTree.text}, `0x…`: where the leaves can be found. */
  readonly leavesHash: string;
  /** The leaves, for everybody to check. */
  readonly text: string;
  /** Proves one account's leaf; `undefined` if it has none. */
  proofOf(model: string, stage: number, account: string, epoch: number): RewardProof | undefined;
}

const LEAF_TYPES = ["uint256", "address", "bytes32", "uint32", "address", "uint128", "uint128"];

/**
 * The tree of some leaves; their order doesn't matter.
 *
 * @throws {TypeError} if there are none, or two for one account at one stage.
 */
export function rewardTree(
  { chainId, rewards }: Pick<Deployment, "chainId" | "rewards">,
  leaves: readonly RewardLeaf[],
): RewardTree {
  const byName = new Map(leaves.map((leaf) => [nameOf(leaf.model, leaf.stage, leaf.account), leaf]));
  if (leaves.length === 0) throw new TypeError("Cannot build a reward tree: it has no leaves");
  if (byName.size !== leaves.length) {
    throw new TypeError("Cannot build a reward tree: two leaves are of one account at one stage");
  }
  const names = [...byName.keys()].sort();
  const sorted = names.map((name) => byName.get(name)!);
  const tree = StandardMerkleTree.of(
    sorted.map((leaf) => [
      chainId,
      rewards,
      leaf.model,
      leaf.stage,
      leaf.account,
      leaf.cumulativeRewardUnits,
      leaf.cumulativeCredit,
    ]),
    LEAF_TYPES,
  );
  const text = JSON.stringify(
    sorted.map((leaf) => [
      leaf.model,
      leaf.stage,
      leaf.account.toLowerCase(),
      `${leaf.cumulativeRewardUnits}`,
      `${leaf.cumulativeCredit}`,
    ]),
  );
  const places = new Map(names.map((name, place) => [name, place]));
  return {
    root: tree.root,
    leavesHash: `0x${createHash("sha256").update(text).digest("hex")}`,
    text,
    proofOf(model, stage, account, epoch) {
      const place = places.get(nameOf(model, stage, account));
      return place === undefined ? undefined : { ...sorted[place], epoch, proof: tree.getProof(place) };
    },
  };
}

function nameOf(model: string, stage: number, account: string): string {
  return `${model} ${stage} ${account}`.toLowerCase();
}
