/**
 * Hostile tokens against every door through which money passes: one that lies
 * about its transfers, and one that comes in again while a door is open.
 */

import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import {
  createModel,
  NEVER_SECONDS,
  person,
  proofArguments,
  settleEpoch,
  voucherArgument,
} from "./testing/scene.ts";
import { type Placed, type Stand, TERMS } from "./testing/stand.ts";
import { refused, trials } from "./testing/trial.ts";

const NOBODY = `0x${"0".repeat(40)}`;
const UNITS = 1_000n;

type Call = readonly [from: string, to: Name, call: string, ...values: unknown[]];
type Name = "vault" | "rewards" | "revenue" | "escrow";

/** Everything is ready: through each door money could pass at once. */
async function prepare(stand: Stand) {
  const [anna, host] = await Promise.all(["anna", "host"].map((name) => person(stand, name)));
  const owner = anna.address;
  await stand.send(owner, "vault", "stake", 10n * TERMS.bondUnits);
  const model = await createModel(stand, owner);
  await stand.send(owner, "rewards", "setEmission", model, UNITS);
  await stand.send(owner, "rewards", "fund", model, 2n * UNITS);
  const lane = [host.address, model, 0] as const;
  await stand.send(owner, "escrow", "deposit", ...lane, 10n * UNITS);
  const leaves = [{ stage: 0, account: owner, cumulativeRewardUnits: 500n, cumulativeCredit: 5n }, {
    stage: 1,
    account: owner,
    cumulativeRewardUnits: 500n,
    cumulativeCredit: 5n,
  }];
  const tree = await settleEpoch(stand, owner, model, 1, leaves);
  const claim = proofArguments(tree, model, 0, owner, 1);
  await stand.send(owner, "revenue", "syncCredit", ...claim);
  const voucher = (cumulativeUnits: bigint) =>
    voucherArgument(stand, anna, {
      host: host.address,
      model,
      stage: 0,
      expirySeconds: NEVER_SECONDS,
      cumulativeUnits,
    });
  await stand.send(owner, "escrow", "redeem", ...lane, voucher(UNITS));
  await stand.send(stand.offices.arbiter, "vault", "slash", owner, 100n, owner);
  await stand.send(owner, "vault", "requestUnstake", UNITS);
  await stand.send(owner, "escrow", "thaw", ...lane, UNITS);
  await stand.pass(Math.max(TERMS.unbondingSeconds, TERMS.thawSeconds));
  const ins: Record<string, Call> = {
    stake: [owner, "vault", "stake", 7n],
    fund: [owner, "rewards", "fund", model, 7n],
    deposit: [owner, "escrow", "deposit", ...lane, 7n],
    depositReserve: [owner, "escrow", "depositReserve", 7n],
  };
  const outs: Record<string, Call> = {
    withdrawStake: [owner, "vault", "withdraw", owner],
    collect: [owner, "vault", "collect", owner],
    claim: [owner, "rewards", "claim", ...claim],
    withdrawRevenue: [owner, "revenue", "withdraw", model, 0, owner],
    withdrawEarned: [host.address, "escrow", "withdraw", host.address],
    refund: [owner, "escrow", "refund", owner, ...lane],
    redeem: [host.address, "escrow", "redeem", ...lane, voucher(2n * UNITS)],
    redeemMany: [host.address, "escrow", "redeemMany", ...lane, [voucher(2n * UNITS)]],
  };
  return { ins, outs, owner, host: host.address };
}

/** What every contract believes to hold, and holds. */
async function balances(stand: Stand): Promise<bigint[]> {
  const names: Name[] = ["vault", "rewards", "revenue", "escrow"];
  const results = await stand.calls(names.map((name) => ["token", "balanceOf", stand.contracts[name].at]));
  return results.map(([balance]) => balance as bigint);
}

trials("a token that returns false", new RealClock(), prepare, {
  "moves nothing, and nothing is believed to have moved": async (stand, { ins, outs }) => {
    for (const [from, to, call, ...values] of [...Object.values(ins), ...Object.values(outs)]) {
      await stand.undone(async () => {
        const before = await balances(stand);
        await stand.send(stand.accounts[0], "token", "lie", true);
        await refused(stand.send(from, to, call, ...values), "SafeERC20FailedOperation");
        await stand.send(stand.accounts[0], "token", "lie", false);
        assert.deepEqual(await balances(stand), before);
        // Once it is honest again everything is still there to be had.
        await stand.send(from, to, call, ...values);
      });
    }
  },
}, "LyingToken");

trials("a token that comes in again", new RealClock(), prepare, {
  "finds every door of the same contract closed": async (stand, { ins, outs }) => {
    const all = { ...ins, ...outs };
    for (const [from, to, call, ...values] of Object.values(all)) {
      for (const [, other, second, ...more] of Object.values(all)) {
        if (other !== to) continue;
        await stand.undone(async () => {
          const target = stand.contracts[other];
          const data = target.interface.encodeFunctionData(second, more);
          await stand.send(stand.accounts[0], "token", "arm", target.at, data);
          await stand.send(from, to, call, ...values);
          const token = stand.contracts.token;
          const [[attempts], [entered]] = await stand.calls([[token, "attempts"], [token, "entered"]]);
          assert.ok(attempts > 0n, `${call} moved no token`);
          assert.equal(entered, 0n, `${second} was let in during ${call}`);
        });
      }
    }
  },
  "gets nothing through another contract's door that it could not have had without": async (stand, all) => {
    const { outs, owner, host } = all;
    const who = [owner, host];
    const wealth = async () => {
      const held = await stand.calls(who.map((it) => ["token", "balanceOf", it]));
      return held.reduce((sum, [balance]) => sum + (balance as bigint), 0n);
    };
    const gain = async (calls: readonly Call[]) => {
      const before = await wealth();
      for (const [from, to, call, ...values] of calls) await stand.send(from, to, call, ...values);
      return await wealth() - before;
    };
    const pairs = Object.values(outs).flatMap((first) =>
      Object.values(outs).filter((second) => second[1] !== first[1]).map((second) => [first, second] as const)
    );
    for (const [first, second] of pairs) {
      const apart = await stand.undone(() => gain([first, second]));
      await stand.undone(async () => {
        const target = stand.contracts[second[1]];
        const data = target.interface.encodeFunctionData(second[2], second.slice(3));
        await stand.send(stand.accounts[0], "token", "arm", target.at, data);
        assert.ok(await gain([first]) <= apart, `${second[2]} in the middle of ${first[2]}`);
      });
    }
  },
  "cannot act for an account that is a contract, either": async (stand, { owner }) => {
    const actor = await stand.place(stand.adversaries.Actor);
    const act = (to: Placed, call: string, ...values: unknown[]) =>
      [actor, "act", to.at, to.interface.encodeFunctionData(call, values)] as const;
    const { token, vault, escrow } = stand.contracts;
    await stand.send(owner, token, "mint", actor.at, 5n * UNITS);
    for (const to of [vault, escrow]) {
      await stand.send(owner, ...act(token, "approve", to.at, 5n * UNITS));
    }
    await stand.send(owner, ...act(vault, "stake", UNITS));
    await stand.send(owner, ...act(vault, "requestUnstake", 400n));
    await stand.pass(TERMS.unbondingSeconds);
    // While it is paid what has unbonded, it asks for more: by its own name this time.
    const [, , ...values] = act(vault, "requestUnstake", 600n);
    await stand.send(owner, token, "arm", actor.at, actor.interface.encodeFunctionData("act", values));
    await stand.send(owner, ...act(vault, "withdraw", actor.at));
    const [[attempts], [entered]] = await stand.calls([[token, "attempts"], [token, "entered"]]);
    assert.deepEqual([attempts, entered], [1n, 0n]);
    await stand.send(owner, token, "arm", NOBODY, "0x");
    const { staked, unbonding } = await stand.call(vault, "accounts", actor.at);
    assert.deepEqual([staked, unbonding], [600n, 0n]);
  },
}, "ReentrantToken");
