/**
 * What the ledger costs where it is in the way: vouchers that a payer signs and a
 * host verifies, by the second of processor time, beside `ethers` as it comes; and
 * the gas of the calls that are made most often, where there is a chain to ask.
 */

import process from "node:process";
import { verifyTypedData, Wallet } from "ethers";
import { escrowDomain } from "../contracts/deployment.ts";
import { digestSigner, NATIVE_CURVE, signerOf } from "../contracts/signing.ts";
import { measureGas } from "../contracts/testing/gas.ts";
import { ANVIL, Stand } from "../contracts/testing/stand.ts";
import { hex, TypedData, type Voucher } from "../contracts/typed_data.ts";
import { type BenchContext, type BenchRow, median } from "./row.ts";

const PAIRS_AT_LEAST = 5_000;
const REDEEM_GAS_AT_MOST = 20_000;
const CLAIM_GAS_AT_MOST = 70_000;
const ROUNDS = 9;
const VOUCHERS = 2_000;
/** It takes so much longer that fewer say as much. */
const ETHERS_VOUCHERS = 50;
const BATCH = "redeemMany, a voucher of 32";

const KEY = new Uint8Array(32).fill(7);
const address = (digit: string) => `0x${digit.repeat(40)}`;
const [token, vault, registry, rewards, revenue, escrow] = [..."123456"].map(address);
const DOMAIN = escrowDomain({ chainId: 31_337, block: 0, token, vault, registry, rewards, revenue, escrow });
const TYPES = {
  Voucher: [
    { name: "payer", type: "address" },
    { name: "host", type: "address" },
    { name: "model", type: "bytes32" },
    { name: "stage", type: "uint32" },
    { name: "expiry", type: "uint64" },
    { name: "cumulative", type: "uint128" },
  ],
};

/** Measures for some seconds. */
export async function* benchLedger(context: BenchContext): AsyncGenerator<BenchRow, void, void> {
  const rounds = context.quick ? 1 : ROUNDS;
  const [ours, theirs]: number[][] = [[], []];
  // The first round warms up; one after the other, so that both see the same neighbours.
  for (let round = 0; round <= rounds; round++) {
    context.signal.throwIfAborted();
    ours.push(pairsPerSecond());
    theirs.push(await ethersPairsPerSecond());
  }
  const pairs = median(ours.slice(1));
  yield {
    name: `ledger: a voucher signed and verified, by processor time, ${
      NATIVE_CURVE === undefined ? "portable" : "native"
    }`,
    value: pairs,
    unit: "vouchers/s",
    ratio: pairs / median(theirs.slice(1)),
    to: "ethers as it comes",
    target: { of: "value", atLeast: PAIRS_AT_LEAST },
  };
  if (ANVIL === undefined) {
    context.note("There is no anvil here, so gas is not measured.");
    return;
  }
  await using stand = await Stand.open(context.clock);
  for (const [name, gas] of Object.entries(await measureGas(stand))) {
    const atMost = name === BATCH ? REDEEM_GAS_AT_MOST : name === "claim" ? CLAIM_GAS_AT_MOST : undefined;
    const target = atMost === undefined ? undefined : { of: "value" as const, atMost };
    yield { name: `ledger: ${name}`, value: gas, unit: "gas", ...target && { target } };
  }
}

/** Of this process: what neighbours take of the machine is not measured. */
function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function voucher(payer: string, index: number): Voucher {
  return {
    payer,
    host: address("a"),
    model: `0x${"b".repeat(64)}`,
    stage: 3,
    expirySeconds: 2_000_000_000,
    cumulativeUnits: 10n ** 18n + BigInt(index),
  };
}

function pairsPerSecond(): number {
  const payer = digestSigner(KEY);
  const [paying, hosting] = [new TypedData(DOMAIN), new TypedData(DOMAIN)];
  const start = processorSeconds();
  for (let index = 0; index < VOUCHERS; index++) {
    const it = voucher(payer.address, index);
    const signature = payer.sign(paying.voucher(it));
    if (signerOf(hosting.voucher(it), signature) !== payer.address) {
      throw new Error("Cannot verify a voucher");
    }
  }
  return VOUCHERS / (processorSeconds() - start);
}

async function ethersPairsPerSecond(): Promise<number> {
  const payer = new Wallet(hex(KEY));
  const { name, version, chainId, contract: verifyingContract } = DOMAIN;
  const domain = { name, version, chainId, verifyingContract };
  const start = processorSeconds();
  for (let index = 0; index < ETHERS_VOUCHERS; index++) {
    const it = voucher(payer.address, index);
    const value = { ...it, expiry: it.expirySeconds, cumulative: it.cumulativeUnits };
    const signature = await payer.signTypedData(domain, TYPES, value);
    if (verifyTypedData(domain, TYPES, value, signature) !== payer.address) {
      throw new Error("Cannot verify a voucher with ethers");
    }
  }
  return ETHERS_VOUCHERS / (processorSeconds() - start);
}
