/** Measures what the calls cost that are made most often. It judges nothing. */

import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { escrowDomain } from "../deployment.ts";
import type { DigestSigner } from "../signing.ts";
import { TypedData } from "../typed_data.ts";
import {
  createModel,
  NEVER_SECONDS,
  person,
  proofArguments,
  settleEpoch,
  voucherArgument,
  word,
} from "./scene.ts";
import { type Stand, TERMS } from "./stand.ts";

const VOUCHERS = 32;
const PATH_STAGES = 16;
/** Accounts of an epoch: proofs of ten hashes. */
const LEAVES = 1_024;
const UNITS = 10_000n;

/** Gas by name of the call; of a batch, for each of its vouchers. */
export async function measureGas(stand: Stand): Promise<Readonly<Record<string, number>>> {
  const host = (await person(stand, "host")).address;
  const owner = (await person(stand, "owner")).address;
  await stand.send(owner, "vault", "stake", 10n * TERMS.bondUnits);
  const model = await createModel(stand, owner);
  const lane = [host, model, 0] as const;
  const gas: Record<string, number> = {};

  const payers: DigestSigner[] = [];
  for (let index = 0; index < VOUCHERS; index++) {
    const payer = await person(stand, `payer ${index}`);
    await stand.send(payer.address, "escrow", "deposit", ...lane, UNITS);
    payers.push(payer);
  }
  const voucher = (index: number, cumulativeUnits: bigint) =>
    voucherArgument(stand, payers[index], {
      host,
      model,
      stage: 0,
      expirySeconds: NEVER_SECONDS,
      cumulativeUnits,
    });
  const redeem = async (units: bigint) =>
    (await stand.send(host, "escrow", "redeem", ...lane, voucher(0, units))).gasUsed;
  const redeemMany = async (units: bigint) =>
    (await stand.send(host, "escrow", "redeemMany", ...lane, payers.map((_, index) => voucher(index, units))))
      .gasUsed / VOUCHERS;
  gas["redeem, the first of a lane"] = await redeem(100n);
  gas["redeem"] = await redeem(200n);
  gas["redeemMany, a voucher of 32"] = await redeemMany(300n);

  const owed = Array.from({ length: PATH_STAGES }, (_, stage) => [host, model, stage, 1_000n]);
  const tree = StandardMerkleTree.of(owed, ["address", "bytes32", "uint32", "uint128"]);
  const path = { payer: payers[0].address, root: tree.root, expirySeconds: NEVER_SECONDS };
  const signature = payers[0].sign(new TypedData(escrowDomain(stand.deployment)).pathVoucher(path));
  const signed = {
    ...{ payer: path.payer, expiry: path.expirySeconds, root: path.root },
    ...{ r: signature.slice(0, 66), vs: `0x${signature.slice(66)}` },
  };
  gas["redeemRoot, one stage of a path of 16"] =
    (await stand.send(host, "escrow", "redeemRoot", ...lane, 1_000n, signed, tree.getProof(0))).gasUsed;

  await stand.send(owner, "rewards", "setEmission", model, UNITS);
  await stand.send(owner, "rewards", "fund", model, 10n * UNITS);
  const others = Array.from({ length: LEAVES - 1 }, (_, index) => word(`account ${index}`).slice(0, 42));
  const leaves = (units: bigint) =>
    [host, ...others].map((account) => ({
      stage: 0,
      account,
      cumulativeRewardUnits: units,
      cumulativeCredit: units,
    }));
  const claim = async (epoch: number, units: bigint) => {
    const tree = await settleEpoch(stand, owner, model, epoch, leaves(units));
    return (await stand.send(host, "rewards", "claim", ...proofArguments(tree, model, 0, host, epoch)))
      .gasUsed;
  };
  gas["claim, the first of an account"] = await claim(1, 10n);
  gas["claim"] = await claim(2, 20n);
  return gas;
}
