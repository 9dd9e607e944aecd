import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { rewardTree } from "./reward_tree.ts";
import {
  createModel,
  evenStages,
  events,
  person,
  proofArguments,
  settleEpoch,
  WEALTH,
  word,
} from "./testing/scene.ts";
import { type Stand, TERMS } from "./testing/stand.ts";
import { refused, trials } from "./testing/trial.ts";

const EMISSION = 1_000n;
const ROOT = word("root");

async function prepare(stand: Stand) {
  const [anna, boris, clara] = await Promise.all(
    ["anna", "boris", "clara"].map((name) => person(stand, name)),
  );
  for (const { address } of [anna, boris]) await stand.send(address, "vault", "stake", 10n * TERMS.bondUnits);
  const model = await createModel(stand, anna.address);
  await stand.send(anna.address, "rewards", "setEmission", model, EMISSION);
  await stand.send(anna.address, "rewards", "fund", model, 10n * EMISSION);
  return { anna: anna.address, boris: boris.address, clara: clara.address, model };
}

const propose = (stand: Stand, from: string, model: string, epoch = 1, root = ROOT) =>
  stand.send(from, "rewards", "propose", model, epoch, root, word("leaves"));

const free = async (stand: Stand, owner: string) => (await stand.call("vault", "freeOf", owner))[0] as bigint;

const balance = async (stand: Stand, owner: string) =>
  (await stand.call("token", "balanceOf", owner))[0] as bigint;

const leaf = (stage: number, account: string, cumulativeRewardUnits: bigint, cumulativeCredit = 0n) => ({
  stage,
  account,
  cumulativeRewardUnits,
  cumulativeCredit,
});

trials("TrainingRewards", new RealClock(), prepare, {
  "a root is final after its window, and then pays": async (stand, { anna, boris, clara, model }) => {
    const leaves = [leaf(0, boris, 300n), leaf(1, boris, 500n), leaf(0, clara, 200n)];
    const tree = rewardTree(stand.deployment, leaves.map((it) => ({ ...it, model })));
    await propose(stand, anna, model, 1, tree.root);
    assert.equal(await free(stand, anna), 9n * TERMS.bondUnits);
    const claim = () => stand.send(anna, "rewards", "claim", ...proofArguments(tree, model, 0, boris, 1));
    await refused(claim(), "NotProven");
    await refused(stand.send(clara, "rewards", "finalize", model), "TooEarly");
    await stand.pass(TERMS.windowSeconds - 5);
    await refused(stand.send(clara, "rewards", "finalize", model), "TooEarly");
    await refused(claim(), "NotProven");
    const done = await stand.send(clara, "rewards", "finalize", model);
    assert.equal(events(done, stand.contracts.rewards, "Finalized")[0].emitted, EMISSION);
    assert.equal(await free(stand, anna), 10n * TERMS.bondUnits);
    const before = await balance(stand, boris);
    await claim();
    assert.equal(await balance(stand, boris), before + 300n);
    await refused(claim(), "Nothing");
    await stand.send(anna, "rewards", "claim", ...proofArguments(tree, model, 1, boris, 1));
    await stand.send(clara, "rewards", "claim", ...proofArguments(tree, model, 0, clara, 1));
    assert.equal(await balance(stand, boris), before + 800n);
    assert.equal(await balance(stand, stand.deployment.rewards), 9n * EMISSION);
  },
  "rewards are cumulative: a later epoch pays the difference": async (stand, { anna, boris, model }) => {
    const first = await settleEpoch(stand, anna, model, 1, [leaf(0, boris, 300n), leaf(1, boris, 1n)]);
    const second = await settleEpoch(stand, anna, model, 2, [leaf(0, boris, 450n), leaf(1, boris, 1n)]);
    const before = await balance(stand, boris);
    await stand.undone(async () => {
      await stand.send(boris, "rewards", "claim", ...proofArguments(first, model, 0, boris, 1));
      await stand.send(boris, "rewards", "claim", ...proofArguments(second, model, 0, boris, 2));
      assert.equal(await balance(stand, boris), before + 450n);
    });
    await stand.send(boris, "rewards", "claim", ...proofArguments(second, model, 0, boris, 2));
    assert.equal(await balance(stand, boris), before + 450n);
    await refused(
      stand.send(boris, "rewards", "claim", ...proofArguments(first, model, 0, boris, 1)),
      "Nothing",
    );
    assert.equal((await stand.call("rewards", "claimed", model, 0, boris))[0], 450n);
  },
  "a leaf binds chain, contract, model, stage, account and both sums": async (stand, all) => {
    const { anna, boris, clara, model } = all;
    const tree = await settleEpoch(stand, anna, model, 1, [leaf(0, boris, 300n, 7n), leaf(1, clara, 2n)]);
    const good = proofArguments(tree, model, 0, boris, 1);
    const changed = (at: number, value: unknown) => good.map((it, index) => index === at ? value : it);
    const bad = [
      changed(0, word("another model")),
      changed(1, 1),
      changed(2, clara),
      changed(3, 2),
      changed(3, 0),
      changed(4, 301n),
      changed(5, 8n),
      changed(6, []),
      changed(6, [ROOT]),
    ];
    for (const values of bad) await refused(stand.send(boris, "rewards", "claim", ...values), "NotProven");
    for (const change of [{ chainId: 1 }, { rewards: stand.deployment.vault }]) {
      const elsewhere = { ...stand.deployment, ...change };
      const forged = rewardTree(elsewhere, [{ ...leaf(0, boris, 5n), model }]);
      await stand.undone(async () => {
        await propose(stand, anna, model, 2, forged.root);
        await stand.pass(TERMS.windowSeconds);
        await stand.send(anna, "rewards", "finalize", model);
        const values = proofArguments(forged, model, 0, boris, 2);
        await refused(stand.send(boris, "rewards", "claim", ...values), "NotProven");
      });
    }
    // The same contract on a chain that has parted from this one.
    await stand.ask("anvil_setChainId", [1]);
    const [elsewhere] = await stand.call("rewards", "proven", ...good);
    await stand.ask("anvil_setChainId", [stand.deployment.chainId]);
    assert.equal(elsewhere, false);
    await stand.send(boris, "rewards", "claim", ...good);
  },
  "a stage never pays more than its share of what was emitted": async (
    stand,
    { anna, boris, clara, model },
  ) => {
    const tree = await settleEpoch(stand, anna, model, 1, [leaf(0, boris, 400n), leaf(0, clara, 101n)]);
    await stand.send(boris, "rewards", "claim", ...proofArguments(tree, model, 0, boris, 1));
    const claim = () => stand.send(clara, "rewards", "claim", ...proofArguments(tree, model, 0, clara, 1));
    await refused(claim(), "OverEmission", [100n, 101n]);
    // The next epoch brings more for the stage, and the claim that was too great fits.
    await settleEpoch(stand, anna, model, 2, [leaf(0, boris, 400n)]);
    await claim();
    const { emitted, claimed } = await stand.call("rewards", "budgets", model, 0);
    assert.deepEqual([emitted, claimed], [1_000n, 501n]);
  },
  "emission follows the weights, and ends with the pool": async (stand, { anna, boris }) => {
    const terms = { maxReplicas: 1, minStake: 0n };
    const stages = [3_333, 3_333, 3_334].map((weightBps) => ({ ...terms, weightBps }));
    const model = await createModel(stand, boris, stages, "thirds");
    await refused(stand.send(anna, "rewards", "setEmission", model, 1n), "NotModelOwner");
    // Without a pool an epoch emits nothing; it may still give credit.
    await settleEpoch(stand, anna, model, 1, [leaf(0, boris, 1n)]);
    await stand.send(boris, "rewards", "setEmission", model, 100n);
    await stand.send(anna, "rewards", "fund", model, 150n);
    await settleEpoch(stand, anna, model, 2, [leaf(0, boris, 1n)]);
    const budgets = await stand.calls([0, 1, 2].map((stage) => ["rewards", "budgets", model, stage]));
    assert.deepEqual(budgets.map(({ emitted }) => emitted), [33n, 33n, 33n]);
    assert.equal((await stand.call("rewards", "programs", model)).pool, 51n);
    await settleEpoch(stand, anna, model, 3, [leaf(0, boris, 1n)]);
    assert.equal((await stand.call("rewards", "programs", model)).pool, 51n - 16n - 16n - 17n);
  },
  "epochs come one after the other, and not too soon": async (stand, { anna, boris, model }) => {
    await refused(propose(stand, anna, model, 0), "WrongEpoch", [1n]);
    await refused(propose(stand, anna, model, 2), "WrongEpoch", [1n]);
    await refused(propose(stand, anna, model, 1, `0x${"0".repeat(64)}`), "EmptyRoot");
    await refused(stand.send(anna, "rewards", "finalize", model), "NoProposal");
    await propose(stand, anna, model);
    await refused(propose(stand, boris, model), "ProposalPending", [stand.spelled(anna)]);
    await stand.send(boris, "rewards", "challenge", model, ROOT);
    await stand.send(stand.offices.arbiter, "rewards", "rule", model, true);
    // The challenge ended the window early; the epoch's time is not over for that.
    await refused(propose(stand, anna, model, 2), "TooEarly");
    await stand.pass(TERMS.epochSeconds);
    await refused(propose(stand, anna, model, 1), "WrongEpoch", [2n]);
    await propose(stand, anna, model, 2);
  },
  "without a bond nobody proposes or challenges": async (stand, { anna, clara, model }) => {
    await refused(propose(stand, clara, model), "FreeStakeTooSmall");
    await propose(stand, anna, model);
    await refused(stand.send(clara, "rewards", "challenge", model, ROOT), "FreeStakeTooSmall");
  },
  "a challenge in time stops the root; the arbiter decides who pays": async (
    stand,
    { anna, boris, model },
  ) => {
    const { arbiter } = stand.offices;
    await refused(stand.send(boris, "rewards", "challenge", model, ROOT), "NoProposal");
    await propose(stand, anna, model);
    await refused(stand.send(boris, "rewards", "challenge", model, word("other")), "NoProposal");
    await refused(stand.send(arbiter, "rewards", "rule", model, true), "NotChallenged");
    await refused(stand.send(arbiter, "rewards", "expire", model), "NotChallenged");
    await stand.send(boris, "rewards", "challenge", model, ROOT);
    assert.equal(await free(stand, boris), 9n * TERMS.bondUnits);
    await refused(stand.send(anna, "rewards", "challenge", model, ROOT), "AlreadyChallenged");
    await stand.pass(TERMS.windowSeconds);
    await refused(stand.send(anna, "rewards", "finalize", model), "AlreadyChallenged");
    await refused(stand.send(boris, "rewards", "rule", model, false), "NotArbiter");
    await stand.undone(async () => {
      await stand.send(arbiter, "rewards", "rule", model, false);
      assert.equal(await free(stand, boris), 10n * TERMS.bondUnits);
      assert.equal((await stand.call("vault", "accounts", anna)).staked, 9n * TERMS.bondUnits);
      assert.equal((await stand.call("vault", "owed", boris))[0], TERMS.bondUnits * 4n / 10n);
      assert.equal(BigInt((await stand.call("rewards", "roots", model, 1))[0]), 0n);
      // The epoch is free to be proposed again, at once.
      await propose(stand, anna, model, 1);
    });
    await stand.send(arbiter, "rewards", "rule", model, true);
    assert.equal(await free(stand, anna), 10n * TERMS.bondUnits);
    assert.equal((await stand.call("vault", "accounts", boris)).staked, 9n * TERMS.bondUnits);
    assert.equal((await stand.call("vault", "owed", anna))[0], TERMS.bondUnits * 4n / 10n);
    assert.equal((await stand.call("rewards", "roots", model, 1))[0], ROOT);
    await refused(stand.send(arbiter, "rewards", "rule", model, true), "NoProposal");
  },
  "a challenge that comes too late is none": async (stand, { anna, boris, model }) => {
    await propose(stand, anna, model);
    await stand.pass(TERMS.windowSeconds - 2);
    await stand.undone(() => stand.send(boris, "rewards", "challenge", model, ROOT));
    await stand.pass(1);
    await refused(stand.send(boris, "rewards", "challenge", model, ROOT), "TooLate");
  },
  "an arbiter that says nothing costs nobody anything": async (stand, { anna, boris, clara, model }) => {
    await propose(stand, anna, model);
    await stand.send(boris, "rewards", "challenge", model, ROOT);
    await refused(stand.send(clara, "rewards", "expire", model), "TooEarly");
    await stand.pass(TERMS.rulingSeconds - 3);
    await refused(stand.send(clara, "rewards", "expire", model), "TooEarly");
    await refused(stand.send(stand.offices.arbiter, "rewards", "rule", model, true), "TooLate");
    await stand.send(clara, "rewards", "expire", model);
    for (const owner of [anna, boris]) assert.equal(await free(stand, owner), 10n * TERMS.bondUnits);
    assert.equal(BigInt((await stand.call("rewards", "roots", model, 1))[0]), 0n);
    await propose(stand, boris, model, 1);
  },
  "who challenges oneself loses": async (stand, { anna, model }) => {
    await propose(stand, anna, model);
    await stand.send(anna, "rewards", "challenge", model, ROOT);
    await stand.send(stand.offices.arbiter, "rewards", "rule", model, false);
    await stand.send(anna, "vault", "collect", anna);
    const { staked, locked } = await stand.call("vault", "accounts", anna);
    assert.deepEqual([staked, locked], [9n * TERMS.bondUnits, 0n]);
    assert.equal(
      await balance(stand, anna),
      WEALTH - 10n * EMISSION - 10n * TERMS.bondUnits + TERMS.bondUnits * 4n / 10n,
    );
  },
  "a pause stops funds and proposals, and nothing else": async (stand, { anna, boris, model }) => {
    const { guardian, arbiter } = stand.offices;
    const tree = await settleEpoch(stand, anna, model, 1, [leaf(0, boris, 300n)]);
    await propose(stand, anna, model, 2);
    await stand.send(guardian, "rewards", "pause");
    await refused(stand.send(anna, "rewards", "fund", model, 1n), "EnforcedPause");
    await stand.send(boris, "rewards", "claim", ...proofArguments(tree, model, 0, boris, 1));
    await stand.undone(async () => {
      await stand.pass(TERMS.windowSeconds);
      await stand.send(boris, "rewards", "finalize", model);
    });
    await stand.send(boris, "rewards", "challenge", model, ROOT);
    await stand.undone(async () => {
      await stand.pass(TERMS.rulingSeconds);
      await stand.send(boris, "rewards", "expire", model);
    });
    await stand.send(arbiter, "rewards", "rule", model, true);
    await stand.pass(TERMS.epochSeconds);
    await refused(propose(stand, anna, model, 3), "EnforcedPause");
    await stand.send(guardian, "rewards", "unpause");
    await refused(stand.send(anna, "rewards", "fund", model, 0n), "Nothing");
    await propose(stand, anna, model, 3);
  },
  "many stages are finalized within a block's gas": async (stand, { anna, boris }) => {
    const stages = Array.from({ length: 100 }, () => ({ ...evenStages(1)[0], weightBps: 100 }));
    const model = await createModel(stand, boris, stages, "deep");
    await stand.send(boris, "rewards", "setEmission", model, 1_000n);
    await stand.send(boris, "rewards", "fund", model, 1_000n);
    await settleEpoch(stand, anna, model, 1, [leaf(99, boris, 10n)]);
    assert.equal((await stand.call("rewards", "budgets", model, 99)).emitted, 10n);
  },
});
