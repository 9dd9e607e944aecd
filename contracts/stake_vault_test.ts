import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { MIN_STAKE, person, WEALTH } from "./testing/scene.ts";
import { type Stand, TERMS } from "./testing/stand.ts";
import { refused, trials } from "./testing/trial.ts";

const BURNED = "0x000000000000000000000000000000000000dEaD";

async function account(stand: Stand, owner: string): Promise<Record<string, bigint>> {
  return (await stand.call("vault", "accounts", owner)).toObject();
}

async function balance(stand: Stand, owner: string): Promise<bigint> {
  return (await stand.call("token", "balanceOf", owner))[0];
}

trials(
  "StakeVault",
  new RealClock(),
  async (stand) => {
    await stand.giveGas(stand.deployment.registry);
    await stand.giveGas(stand.deployment.rewards);
    return { anna: (await person(stand, "anna")).address, arbiter: stand.offices.arbiter };
  },
  {
    "stake goes in, and comes out after unbonding, to its owner alone": async (stand, { anna, arbiter }) => {
      await stand.send(anna, "vault", "stake", 700n);
      await stand.send(anna, "vault", "requestUnstake", 300n);
      const { staked, unbonding, readyAt } = await account(stand, anna);
      assert.deepEqual([staked, unbonding], [400n, 300n]);
      assert.equal(Number(readyAt), await stand.nowSeconds() + TERMS.unbondingSeconds);
      await stand.pass(TERMS.unbondingSeconds - 2);
      await refused(stand.send(anna, "vault", "withdraw", anna), "NotReady", [readyAt]);
      // Somebody else may pay for the transaction.
      await stand.send(arbiter, "vault", "withdraw", anna);
      assert.equal(await balance(stand, anna), WEALTH - 400n);
      assert.equal((await account(stand, anna)).unbonding, 0n);
      await refused(stand.send(anna, "vault", "withdraw", anna), "Nothing");
    },
    "a second request makes the first wait with it": async (stand, { anna }) => {
      await stand.send(anna, "vault", "stake", 700n);
      await stand.send(anna, "vault", "requestUnstake", 300n);
      await stand.pass(TERMS.unbondingSeconds);
      await stand.send(anna, "vault", "requestUnstake", 100n);
      await refused(stand.send(anna, "vault", "withdraw", anna), "NotReady");
      await stand.pass(TERMS.unbondingSeconds);
      await stand.send(anna, "vault", "withdraw", anna);
      assert.equal(await balance(stand, anna), WEALTH - 300n);
    },
    "nothing can be moved of nothing": async (stand, { anna }) => {
      await refused(stand.send(anna, "vault", "stake", 0n), "Nothing");
      await refused(stand.send(anna, "vault", "requestUnstake", 0n), "Nothing");
      await refused(stand.send(anna, "vault", "requestUnstake", 1n), "FreeStakeTooSmall");
      await refused(stand.send(anna, "vault", "collect", anna), "Nothing");
    },
    "locked stake does not leave, and only its locker unlocks it": async (stand, { anna, arbiter }) => {
      await stand.send(anna, "vault", "stake", 700n);
      await refused(stand.send(anna, "vault", "lock", anna, 1n), "NotLocker", [stand.spelled(anna)]);
      await refused(stand.send(anna, "vault", "unlock", anna, 0n), "NotLocker");
      await stand.send(arbiter, "vault", "lock", anna, MIN_STAKE);
      assert.equal((await stand.call("vault", "freeOf", anna))[0], 200n);
      assert.equal((await stand.call("vault", "lockedBy", arbiter, anna))[0], MIN_STAKE);
      await refused(stand.send(anna, "vault", "requestUnstake", 201n), "FreeStakeTooSmall");
      await refused(stand.send(arbiter, "vault", "lock", anna, 201n), "FreeStakeTooSmall");
      await stand.send(anna, "vault", "requestUnstake", 200n);
      const { registry } = stand.deployment;
      await refused(stand.send(registry, "vault", "unlock", anna, 1n), "LockTooSmall");
      await refused(stand.send(arbiter, "vault", "unlock", anna, MIN_STAKE + 1n), "LockTooSmall");
      await stand.send(arbiter, "vault", "unlock", anna, MIN_STAKE);
      await stand.send(anna, "vault", "requestUnstake", MIN_STAKE);
    },
    "a slash reaches what is unbonding, and is divided": async (stand, { anna, arbiter }) => {
      const { insurance, auditors: challenger } = stand.offices;
      await stand.send(anna, "vault", "stake", 1_000n);
      await stand.send(anna, "vault", "requestUnstake", 400n);
      await refused(stand.send(anna, "vault", "slash", anna, 1n, anna), "NotLocker");
      await stand.send(arbiter, "vault", "slash", anna, 905n, challenger);
      const { staked, unbonding } = await account(stand, anna);
      assert.deepEqual([staked, unbonding], [0n, 95n]);
      for (const [who, units] of [[challenger, 362n], [BURNED, 362n], [insurance, 181n]] as const) {
        assert.equal((await stand.call("vault", "owed", who))[0], units);
        await stand.send(anna, "vault", "collect", who);
        assert.equal(await balance(stand, who), units);
        await refused(stand.send(anna, "vault", "collect", who), "Nothing");
      }
      await stand.pass(TERMS.unbondingSeconds);
      await stand.send(anna, "vault", "withdraw", anna);
      assert.equal(await balance(stand, stand.deployment.vault), 0n);
    },
    "a slash takes no more than there is, and undoes the lock": async (stand, { anna, arbiter }) => {
      await stand.send(anna, "vault", "stake", 600n);
      await stand.send(arbiter, "vault", "lock", anna, 500n);
      await stand.send(arbiter, "vault", "slash", anna, 200n, anna);
      assert.deepEqual(
        await account(stand, anna),
        { staked: 400n, unbonding: 0n, locked: 300n, readyAt: 0n },
      );
      assert.equal((await stand.call("vault", "lockedBy", arbiter, anna))[0], 300n);
      // Another locker's slash takes the stake and leaves the lock, which binds what comes later.
      await stand.send(stand.deployment.rewards, "vault", "slash", anna, 5_000n, anna);
      assert.deepEqual(await account(stand, anna), { staked: 0n, unbonding: 0n, locked: 300n, readyAt: 0n });
      const owed = await stand.calls(
        [anna, BURNED, stand.offices.insurance].map((it) => ["vault", "owed", it]),
      );
      assert.deepEqual(owed.flat(), [240n, 240n, 120n]);
      await stand.send(anna, "vault", "stake", 350n);
      assert.equal((await stand.call("vault", "freeOf", anna))[0], 50n);
      await stand.send(arbiter, "vault", "unlock", anna, 300n);
      await stand.send(anna, "vault", "requestUnstake", 350n);
    },
    "who challenges oneself loses": async (stand, { anna, arbiter }) => {
      await stand.send(anna, "vault", "stake", 1_000n);
      await stand.send(arbiter, "vault", "slash", anna, 1_000n, anna);
      await stand.send(anna, "vault", "collect", anna);
      assert.equal(await balance(stand, anna), WEALTH - 600n);
    },
    "a pause stops stakes, and nothing else": async (stand, { anna, arbiter }) => {
      const { guardian } = stand.offices;
      await stand.send(anna, "vault", "stake", 1_000n);
      await refused(stand.send(anna, "vault", "pause"), "NotGuardian");
      await stand.send(guardian, "vault", "pause");
      await refused(stand.send(anna, "vault", "stake", 1n), "EnforcedPause");
      await stand.send(arbiter, "vault", "lock", anna, 100n);
      await stand.send(arbiter, "vault", "unlock", anna, 50n);
      await stand.send(arbiter, "vault", "slash", anna, 50n, anna);
      await stand.send(anna, "vault", "collect", anna);
      await stand.send(anna, "vault", "requestUnstake", 900n);
      await stand.pass(TERMS.unbondingSeconds);
      await stand.send(anna, "vault", "withdraw", anna);
      await refused(stand.send(anna, "vault", "unpause"), "NotGuardian");
      await stand.send(guardian, "vault", "unpause");
      await stand.send(anna, "vault", "stake", 1n);
    },
  },
);
