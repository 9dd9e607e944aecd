import assert from "node:assert/strict";
import fc from "fast-check";
import { RealClock } from "../actors/core/real_clock.ts";
import { createModel, person, proofArguments, settleEpoch, word } from "./testing/scene.ts";
import { type Stand, TERMS } from "./testing/stand.ts";
import { refused, trials } from "./testing/trial.ts";

async function prepare(stand: Stand) {
  const people = await Promise.all(["anna", "boris", "clara"].map((name) => person(stand, name)));
  const [anna, boris, clara] = people.map(({ address }) => address);
  await stand.giveGas(stand.deployment.escrow);
  await stand.send(anna, "vault", "stake", 10n * TERMS.bondUnits);
  return { anna, boris, clara, model: await createModel(stand, anna) };
}

/** Revenue as the escrow brings it. */
async function earn(stand: Stand, model: string, units: bigint, stage = 0): Promise<void> {
  const { escrow, revenue } = stand.deployment;
  await stand.send(stand.accounts[0], "token", "mint", revenue, units);
  await stand.send(escrow, "revenue", "receiveRevenue", model, stage, units);
}

const credits = (stand: Stand, from: string, model: string, epoch: number, list: [string, bigint][]) =>
  settleEpoch(
    stand,
    from,
    model,
    epoch,
    list.map(([account, cumulativeCredit]) => ({
      stage: 0,
      account,
      cumulativeRewardUnits: 0n,
      cumulativeCredit,
    })),
  );

const withdrawable = async (stand: Stand, model: string, who: string, stage = 0) =>
  (await stand.call("revenue", "withdrawable", model, stage, who))[0] as bigint;

const balance = async (stand: Stand, who: string) =>
  (await stand.call("token", "balanceOf", who))[0] as bigint;

trials("ShardRevenue", new RealClock(), prepare, {
  "revenue is shared by credit, from when the credit is there": async (
    stand,
    { anna, boris, clara, model },
  ) => {
    const tree = await credits(stand, anna, model, 1, [[boris, 40n], [clara, 10n]]);
    const sync = (who: string) =>
      stand.send(anna, "revenue", "syncCredit", ...proofArguments(tree, model, 0, who, 1));
    await sync(boris);
    await earn(stand, model, 1_000n);
    await sync(clara);
    await earn(stand, model, 1_000n);
    assert.equal(await withdrawable(stand, model, boris), 1_800n);
    assert.equal(await withdrawable(stand, model, clara), 200n);
    const before = await balance(stand, boris);
    await stand.send(clara, "revenue", "withdraw", model, 0, boris);
    assert.equal(await balance(stand, boris), before + 1_800n);
    await refused(stand.send(clara, "revenue", "withdraw", model, 0, boris), "Nothing");
    await refused(stand.send(anna, "revenue", "withdraw", model, 0, anna), "Nothing");
    await stand.send(clara, "revenue", "withdraw", model, 0, clara);
    assert.equal(await balance(stand, stand.deployment.revenue), 0n);
  },
  "what comes before there is credit is carried": async (stand, { anna, boris, clara, model }) => {
    await earn(stand, model, 500n);
    assert.equal((await stand.call("revenue", "pools", model, 0)).carry, 500n);
    const tree = await credits(stand, anna, model, 1, [[boris, 5n], [clara, 4n]]);
    await stand.send(anna, "revenue", "syncCredit", ...proofArguments(tree, model, 0, boris, 1));
    assert.equal(await withdrawable(stand, model, boris), 500n);
    await stand.undone(async () => {
      const before = await balance(stand, boris);
      await stand.send(boris, "revenue", "withdraw", model, 0, boris);
      assert.equal(await balance(stand, boris), before + 500n);
    });
    // Who comes second finds it shared already.
    await stand.send(anna, "revenue", "syncCredit", ...proofArguments(tree, model, 0, clara, 1));
    assert.deepEqual([await withdrawable(stand, model, boris), await withdrawable(stand, model, clara)], [
      500n,
      0n,
    ]);
  },
  "more credit settles what was earned with less": async (stand, { anna, boris, clara, model }) => {
    const first = await credits(stand, anna, model, 1, [[boris, 10n], [clara, 10n]]);
    for (const who of [boris, clara]) {
      await stand.send(anna, "revenue", "syncCredit", ...proofArguments(first, model, 0, who, 1));
    }
    await earn(stand, model, 1_000n);
    const second = await credits(stand, anna, model, 2, [[boris, 90n]]);
    const sync = () =>
      stand.send(anna, "revenue", "syncCredit", ...proofArguments(second, model, 0, boris, 2));
    await sync();
    await refused(sync(), "CreditNotRising", [90n]);
    await refused(
      stand.send(anna, "revenue", "syncCredit", ...proofArguments(first, model, 0, boris, 1)),
      "CreditNotRising",
    );
    await earn(stand, model, 1_000n);
    assert.equal(await withdrawable(stand, model, boris), 1_400n);
    assert.equal(await withdrawable(stand, model, clara), 600n);
    await stand.send(boris, "revenue", "withdraw", model, 0, boris);
    await earn(stand, model, 100n);
    assert.equal(await withdrawable(stand, model, boris), 90n);
    const pool = await stand.call("revenue", "pools", model, 0);
    assert.equal(pool.totalCredit, 100n);
  },
  "credit has to be proved, and revenue comes from the escrow": async (
    stand,
    { anna, boris, clara, model },
  ) => {
    const tree = await credits(stand, anna, model, 1, [[boris, 10n], [clara, 5n]]);
    const good = proofArguments(tree, model, 0, boris, 1);
    for (
      const [at, value] of [[0, word("other")], [1, 1], [2, anna], [3, 2], [4, 1n], [5, 11n], [
        6,
        [],
      ]] as const
    ) {
      const bad = good.map((it, index) => index === at ? value : it);
      await refused(stand.send(boris, "revenue", "syncCredit", ...bad), "NotProven");
    }
    await refused(stand.send(anna, "revenue", "receiveRevenue", model, 0, 5n), "NotEscrow");
  },
  "stages and models do not share": async (stand, { anna, boris, model }) => {
    const tree = await credits(stand, anna, model, 1, [[boris, 10n], [anna, 1n]]);
    await stand.send(anna, "revenue", "syncCredit", ...proofArguments(tree, model, 0, boris, 1));
    await earn(stand, model, 100n, 1);
    await earn(stand, word("another model"), 100n);
    assert.equal(await withdrawable(stand, model, boris), 0n);
    assert.equal(await withdrawable(stand, model, boris, 1), 0n);
  },
  "what does not divide is carried, and nothing is ever paid twice": async (
    stand,
    { anna, boris, clara, model },
  ) => {
    const units = fc.bigInt({ min: 1n, max: 10n ** 24n });
    const list = fc.array(units, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(units, units, list, (first, second, amounts) =>
        stand.undone(async () => {
          const tree = await credits(stand, anna, model, 1, [[boris, first], [clara, second]]);
          const sync = (who: string) =>
            stand.send(anna, "revenue", "syncCredit", ...proofArguments(tree, model, 0, who, 1));
          await sync(boris);
          let all = 0n;
          for (const [index, amount] of amounts.entries()) {
            await earn(stand, model, amount);
            all += amount;
            if (index === 0) await sync(clara);
          }
          const due = await withdrawable(stand, model, boris) + await withdrawable(stand, model, clara);
          const { carry } = await stand.call("revenue", "pools", model, 0);
          assert.ok(due + carry <= all);
          // Of each payment at most one unit for each share is lost to rounding.
          assert.ok(due + carry >= all - 2n * BigInt(amounts.length + 2), `${all - due - carry} lost`);
          for (const who of [boris, clara]) {
            const mine = await withdrawable(stand, model, who);
            const before = await balance(stand, who);
            if (mine > 0n) await stand.send(who, "revenue", "withdraw", model, 0, who);
            assert.equal(await balance(stand, who), before + mine);
          }
        })),
      { numRuns: 15 },
    );
  },
});
