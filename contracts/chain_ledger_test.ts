import assert from "node:assert/strict";
import { RealClock } from "../actors/core/real_clock.ts";
import { connectChain } from "./chain.ts";
import { type ChainLedger, type ChainLedgerOptions, openDeployer, openLedger } from "./chain_ledger.ts";
import { deploy, escrowDomain, localTerms } from "./deployment.ts";
import { fileJournal, memoryJournal } from "./journal.ts";
import { type Ledger, LedgerError, type SignedVoucher } from "./ledger.ts";
import { LOCAL_CHAIN_ID } from "./local_chain.ts";
import { NO_LEDGER } from "./no_ledger.ts";
import { rewardTree } from "./reward_tree.ts";
import { digestSigner } from "./signing.ts";
import { faultyChain } from "./testing/faulty_chain.ts";
import { createModel, evenStages, NEVER_SECONDS, WEALTH, word } from "./testing/scene.ts";
import { type Stand, TERMS } from "./testing/stand.ts";
import { trials } from "./testing/trial.ts";
import { bytesOf, TypedData } from "./typed_data.ts";

const clock = new RealClock();
const HOST_KEY = bytesOf(word("host's key"));
const PAYER_KEY = bytesOf(word("payer's key"));
const NODE = digestSigner(bytesOf(word("node's key")));
const host = digestSigner(HOST_KEY);
const payer = digestSigner(PAYER_KEY);
const PEER = word("peer");
const STAKE = 5_000n;

async function prepare(stand: Stand): Promise<string> {
  for (const { address } of [host, payer]) {
    await stand.giveGas(address);
    await stand.send(address, "token", "mint", address, WEALTH);
  }
  return await createModel(stand, stand.offices.guardian, evenStages(2));
}

function open(stand: Stand, key: Uint8Array, more: Partial<ChainLedgerOptions> = {}): Promise<ChainLedger> {
  const { deployment } = stand;
  const journal = memoryJournal();
  return openLedger({ chain: stand.chain.url, deployment, key, journal, clock, pollMs: 2, ...more });
}

function voucher(stand: Stand, model: string, stage: number, cumulativeUnits: bigint): SignedVoucher {
  const it = {
    payer: payer.address,
    host: host.address,
    model,
    stage,
    expirySeconds: NEVER_SECONDS,
    cumulativeUnits,
  };
  return { ...it, signature: payer.sign(new TypedData(escrowDomain(stand.deployment)).voucher(it)) };
}

/** Blocks come by themselves on other chains. */
async function registered(stand: Stand, ledger: Ledger, model: string) {
  const place = ledger.register(model, NODE, PEER);
  let over = false;
  place.finally(() => over = true).catch(() => {});
  while (!over) await stand.mine(1);
  return await place;
}

const is = (trouble: string, reason?: string) => (error: unknown) =>
  error instanceof LedgerError && error.trouble === trouble && error.reason === reason;

trials("ledger on a chain", clock, prepare, {
  "a host stakes, takes a place, serves, is paid, and leaves": async (stand, model) => {
    using ledger = await open(stand, HOST_KEY);
    using paying = await open(stand, PAYER_KEY);
    assert.equal(await ledger.placeOf(model, NODE.address, 0), undefined);
    await ledger.stake(STAKE);
    const place = await registered(stand, ledger, model);
    assert.deepEqual(await ledger.placeOf(model, NODE.address, 0), place);
    assert.equal(place.owner, host.address);
    // Again is the same.
    assert.deepEqual(await ledger.register(model, NODE, PEER), place);

    const { stage } = place;
    await paying.deposit(host.address, model, stage, 10_000n);
    await paying.depositReserve(500n);
    const name = { payer: payer.address, host: host.address, model, stage };
    await ledger.redeemMany([voucher(stand, model, stage, 1_000n)]);
    await ledger.redeemMany([voucher(stand, model, stage, 900n), voucher(stand, model, stage, 2_000n)]);
    await ledger.redeemMany([]);
    assert.deepEqual(await ledger.laneOf(name), {
      depositUnits: 8_000n,
      redeemedUnits: 2_000n,
      thawingUnits: 0n,
      readySeconds: 0,
    });
    await ledger.withdrawServed();
    await ledger.withdrawServed();
    await paying.thaw(host.address, model, stage, 8_000n);
    assert.equal((await ledger.laneOf(name)).thawingUnits, 8_000n);
    await paying.thaw(undefined, model, stage, 500n);
    await stand.pass(TERMS.thawSeconds);
    await paying.refund(host.address, model, stage);
    await paying.refund(undefined, model, stage);
    const balances = await stand.calls([payer, host].map(({ address }) => ["token", "balanceOf", address]));
    assert.deepEqual(balances.flat(), [WEALTH - 2_000n, WEALTH - STAKE + 1_540n]);

    const { rows, servedUnits, withdrawnUnits } = await ledger.earnings(host.address);
    assert.deepEqual(rows.map(({ inferenceUnits, stage }) => [inferenceUnits, stage]), [[1_540n, stage]]);
    assert.match(rows[0].day, /^\d{4}-\d\d-\d\d$/);
    assert.deepEqual([servedUnits, withdrawnUnits], [0n, 1_540n]);

    await ledger.resign(model);
    await ledger.resign(model);
    assert.equal(await ledger.placeOf(model, NODE.address, 0), undefined);
    await ledger.requestUnstake(STAKE);
    await stand.pass(TERMS.unbondingSeconds);
    await ledger.withdrawStake();
    await ledger.withdrawStake();
    assert.equal((await ledger.stakeOf(host.address)).stakedUnits, 0n);
  },
  "an epoch is proposed, final, and pays; the shard pays again": async (stand, model) => {
    using ledger = await open(stand, HOST_KEY);
    using other = await open(stand, PAYER_KEY);
    const { guardian, arbiter } = stand.offices;
    await stand.enrich(guardian, WEALTH);
    await stand.send(guardian, "rewards", "setEmission", model, 1_000n);
    await stand.send(guardian, "rewards", "fund", model, 10_000n);
    await ledger.stake(STAKE);
    await other.stake(STAKE);
    const tree = rewardTree(stand.deployment, [
      { model, stage: 0, account: host.address, cumulativeRewardUnits: 400n, cumulativeCredit: 9n },
      { model, stage: 1, account: payer.address, cumulativeRewardUnits: 100n, cumulativeCredit: 1n },
    ]);
    const wrong = { root: word("wrong"), leavesHash: word("leaves") };
    await other.proposeEpoch(model, 1, wrong);
    await ledger.challengeEpoch(model, wrong.root);
    assert.equal((await ledger.epochOf(model)).challenged, true);
    await stand.send(arbiter, "rewards", "rule", model, false);
    await ledger.proposeEpoch(model, 1, tree);
    await ledger.proposeEpoch(model, 1, tree);
    const state = await ledger.epochOf(model);
    assert.deepEqual([state.finalEpoch, state.proposedRoot, state.challenged], [0, tree.root, false]);
    await assert.rejects(ledger.finalizeEpoch(model), is("refused", "TooEarly"));
    await stand.pass(state.finalSeconds - await stand.nowSeconds());
    await ledger.finalizeEpoch(model);
    assert.deepEqual(await ledger.epochOf(model), {
      finalEpoch: 1,
      proposedRoot: undefined,
      challenged: false,
      finalSeconds: 0,
      nextSeconds: state.finalSeconds - TERMS.windowSeconds + TERMS.epochSeconds,
    });
    assert.deepEqual(await ledger.proposalOf(model, 1), { root: tree.root, leavesHash: tree.leavesHash });
    assert.equal(await ledger.proposalOf(model, 2), undefined);
    const proof = tree.proofOf(model, 0, host.address.toUpperCase().replace("0X", "0x"), 1)!;
    assert.equal(tree.proofOf(model, 1, host.address, 1), undefined);
    for (let time = 0; time < 2; time++) {
      await ledger.claim(proof);
      await ledger.syncCredit(proof);
    }
    assert.equal(await ledger.claimedOf(model, 0, host.address), 400n);
    await other.deposit(host.address, model, 0, 1_000n);
    await other.deposit(host.address, model, 0, 1_000n);
    await ledger.redeemMany([voucher(stand, model, 0, 1_000n)]);
    const before = await ledger.earnings(host.address);
    assert.deepEqual(before.royalties, [{ model, stage: 0, units: 199n }]);
    await ledger.withdrawRoyalty(model, 0);
    await ledger.withdrawRoyalty(model, 0);
    const after = await ledger.earnings(host.address);
    const [row] = after.rows;
    assert.deepEqual([row.trainingUnits, row.inferenceUnits, row.royaltyUnits], [400n, 770n, 199n]);
    assert.deepEqual([after.servedUnits, after.withdrawnUnits], [770n, 599n]);
  },
  "refusals carry the contract's word": async (stand, model) => {
    using ledger = await open(stand, HOST_KEY);
    await assert.rejects(ledger.requestUnstake(1n), is("refused", "FreeStakeTooSmall"));
    await assert.rejects(ledger.stake(2n * WEALTH), is("refused", "ERC20InsufficientBalance"));
    await assert.rejects(registered(stand, ledger, word("no model")), is("refused", "ModelNotActive"));
    await assert.rejects(registered(stand, ledger, model), is("refused", "FreeStakeTooSmall"));
    const [one, two] = [voucher(stand, model, 0, 1n), voucher(stand, model, 1, 1n)];
    await assert.rejects(ledger.redeemMany([one, two]), TypeError);
    // What was asked for before stays asked for, and succeeds once there is stake.
    await ledger.stake(STAKE);
    await registered(stand, ledger, model);
  },
  "another chain, or nothing where the contracts should be, is noticed": async (stand) => {
    const { deployment } = stand;
    await assert.rejects(
      open(stand, HOST_KEY, { deployment: { ...deployment, chainId: 1 } }),
      is("wrong chain"),
    );
    await assert.rejects(
      open(stand, HOST_KEY, { deployment: { ...deployment, escrow: payer.address } }),
      is("wrong chain"),
    );
    await assert.rejects(open(stand, HOST_KEY, { chain: "http://127.0.0.1:9" }), is("down"));
  },
  "a ledger that is closed waits for nothing": async (stand) => {
    await stand.ask("evm_setAutomine", [false]);
    using ledger = await open(stand, HOST_KEY);
    const staking = ledger.stake(1n);
    ledger[Symbol.dispose]();
    await assert.rejects(staking, is("down"));
    await stand.ask("evm_setAutomine", [true]);
  },
  "a crash in the middle of a batch pays nothing twice": async (stand, model) => {
    using paying = await open(stand, PAYER_KEY);
    await paying.deposit(host.address, model, 0, 10_000n);
    const path = await Deno.makeTempFile();
    await Deno.remove(path);
    const list = [voucher(stand, model, 0, 1_000n)];
    {
      // The chain takes the transaction, and the host never hears of it.
      const real = connectChain(stand.chain.url, LOCAL_CHAIN_ID);
      const chain = faultyChain(
        real,
        (method) => method === "eth_getTransactionReceipt" ? "before" : "heard",
      );
      using ledger = await open(stand, HOST_KEY, { chain, journal: fileJournal(path), patienceMs: 0 });
      await assert.rejects(ledger.redeemMany(list), is("down"));
    }
    using ledger = await open(stand, HOST_KEY, { journal: fileJournal(path) });
    await ledger.redeemMany(list);
    await ledger.redeemMany(list);
    assert.equal((await ledger.earnings(host.address)).servedUnits, 770n);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    await Deno.remove(path);
  },
  "contracts are deployed through the same door": async (stand) => {
    const chain = stand.chain.url;
    const options = { key: HOST_KEY, journal: memoryJournal(), clock, pollMs: 2, chainId: LOCAL_CHAIN_ID };
    using deployer = openDeployer({ ...options, chain });
    const deployment = await deploy(deployer, localTerms(host.address));
    using ledger = await openLedger({ ...options, chain, deployment });
    assert.equal((await ledger.stakeOf(host.address)).stakedUnits, 0n);
    await assert.rejects(ledger.stake(1n), is("refused", "ERC20InsufficientBalance"));
  },
});

Deno.test("without a ledger everybody is believed, and nobody moves money", async () => {
  const place = { owner: NODE.address, model: "m", stage: 3 };
  assert.deepEqual(await NO_LEDGER.placeOf("m", NODE.address, 3), place);
  const moves: (() => Promise<unknown>)[] = [
    () => NO_LEDGER.stake(1n),
    () => NO_LEDGER.register("m", NODE, PEER),
    () => NO_LEDGER.deposit("h", "m", 0, 1n),
    () => NO_LEDGER.redeemMany([]),
  ];
  for (const move of moves) await assert.rejects(move(), is("none"));
  await NO_LEDGER.withdrawServed();
  assert.deepEqual((await NO_LEDGER.earnings("h")).rows, []);
  assert.equal((await NO_LEDGER.stakeOf("h")).stakedUnits, 0n);
  assert.equal((await NO_LEDGER.epochOf("m")).finalEpoch, 0);
});
