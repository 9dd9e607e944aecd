/**
 * Puts together what an account has earned, from what the contracts have logged.
 * It reads; it decides and changes nothing.
 */

import { type Interface, type Result, zeroPadValue } from "ethers";
import { CONTRACTS } from "./artifacts.ts";
import type { Deployment } from "./deployment.ts";
import { eventLogs } from "./event_logs.ts";
import type { Earnings, EarningsRow } from "./ledger.ts";

/** The way to the contracts. */
export interface EarningsSource {
  ask<T>(method: string, params: readonly unknown[]): Promise<T>;
  call(name: "escrow" | "revenue", call: string, ...values: readonly unknown[]): Promise<Result>;
}

const REWARDS = CONTRACTS.TrainingRewards.interface;
const REVENUE = CONTRACTS.ShardRevenue.interface;
const ESCROW = CONTRACTS.InferenceEscrow.interface;

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** All that an account has earned since the contracts were deployed. */
export async function readEarnings(
  account: string,
  at: Deployment,
  source: EarningsSource,
): Promise<Earnings> {
  const head = Number(await source.ask<string>("eth_blockNumber", []));
  const days = new Map<string, string>();
  const dayOf = async (block: string): Promise<string> => {
    const known = days.get(block);
    if (known !== undefined) return known;
    const { timestamp } = await source.ask<{ timestamp: string }>("eth_getBlockByNumber", [block, false]);
    const day = new Date(Number(timestamp) * 1000).toISOString().slice(0, "2026-11-21".length);
    days.set(block, day);
    return day;
  };
  /** The account's logs of one event; `place` is that of the account among the indexed fields. */
  async function* logs(address: string, face: Interface, event: string, place: number) {
    const topics = [face.getEvent(event)!.topicHash, null, null, null].slice(
      0,
      1 + place,
    ) as (string | null)[];
    topics[place] = zeroPadValue(account, 32);
    for await (const log of eventLogs(source.ask, address, topics, at.block, head)) {
      const { args } = face.parseLog(log)!;
      yield { args, block: log.blockNumber };
    }
  }
  const rows = new Map<string, Writable<EarningsRow>>();
  const rowOf = async (model: string, stage: bigint, block: string): Promise<Writable<EarningsRow>> => {
    const day = await dayOf(block);
    const key = `${day} ${model} ${stage}`;
    const fresh = { trainingUnits: 0n, inferenceUnits: 0n, royaltyUnits: 0n };
    const row = rows.get(key) ?? { model, stage: Number(stage), day, ...fresh };
    rows.set(key, row);
    return row;
  };
  let withdrawnUnits = 0n;
  for await (const { args, block } of logs(at.rewards, REWARDS, "Claimed", 2)) {
    (await rowOf(args.model, args.stage, block)).trainingUnits += args.amount;
    withdrawnUnits += args.amount;
  }
  for await (const { args, block } of logs(at.escrow, ESCROW, "Earned", 1)) {
    (await rowOf(args.model, args.stage, block)).inferenceUnits += args.toHost;
  }
  for await (const { args } of logs(at.escrow, ESCROW, "Withdrawn", 1)) withdrawnUnits += args.amount;
  for await (const { args, block } of logs(at.revenue, REVENUE, "Withdrawn", 2)) {
    (await rowOf(args.model, args.stage, block)).royaltyUnits += args.amount;
    withdrawnUnits += args.amount;
  }
  const shares = new Map<string, { readonly model: string; readonly stage: number }>();
  for await (const { args } of logs(at.revenue, REVENUE, "CreditSet", 3)) {
    shares.set(`${args.model} ${args.stage}`, { model: args.model, stage: Number(args.stage) });
  }
  const royalties = [];
  for (const { model, stage } of shares.values()) {
    const [units] = await source.call("revenue", "withdrawable", model, stage, account);
    royalties.push({ model, stage, units: units as bigint });
  }
  const [servedUnits] = await source.call("escrow", "earned", account);
  const sorted = [...rows].sort(([left], [right]) => left < right ? -1 : 1).map(([, row]) => row);
  return { rows: sorted, servedUnits: servedUnits as bigint, royalties, withdrawnUnits };
}
